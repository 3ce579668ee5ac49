"""Write requests.jsonl: the requests of some invented services, for `claude-lite run`.

    python examples/make_requests.py > examples/requests.jsonl

It writes the same 1,200 requests each time. They are of thirteen kinds, and use most of what a
request can have: tools and their results, images, documents, thinking, structured output, cached
system prompts, streams, several languages.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

JSON = dict[str, Any]
COUNT = 1200

random_ = random.Random(20261122)  # noqa: S311  # the same file each time
pick = random_.choice

MODELS = ["claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-5-5"]

PRODUCTS = [
    "espresso machine",
    "standing desk",
    "e-bike",
    "noise-cancelling headset",
    "tent",
    "air purifier",
    "robot mower",
    "cargo trailer",
    "induction hob",
    "sleeping bag",
    "label printer",
    "telescope",
    "pressure cooker",
    "drawing tablet",
]
FAULTS = [
    "leaks after ten minutes",
    "will not switch on",
    "makes a grinding noise",
    "arrived with a cracked housing",
    "loses its connection every evening",
    "shows error E-{n}",
    "charges to {n} percent and stops",
    "smells of burnt plastic",
    "is missing {n} screws",
    "came in the wrong colour",
]
WISHES = [
    "I would like my money back.",
    "Can you send a replacement before the weekend?",
    "Is this covered by the warranty?",
    "Please tell me how to fix it myself.",
    "I have written twice already and nobody answers!",
    "Who pays for the return?",
    "No hurry, I just wanted you to know.",
    "Otherwise I am very happy with it.",
]
PEOPLE = [
    "Amara Okafor",
    "Jonas Lindqvist",
    "Mei-Ling Zhao",
    "Zoë Dürrenmatt",
    "Tomás Ibáñez",
    "Priya Raghunathan",
    "Kwame Boateng",
    "Ingrid Sørensen",
    "Yuki Tanaka",
    "Łukasz Wójcik",
    "Fatima El-Sayed",
    "Siobhán Ní Bhriain",
    "Mateus Gonçalves",
    "Nguyễn Thị Lan",
]
CITIES = [
    "Lyon",
    "Gdańsk",
    "Nairobi",
    "Osaka",
    "São Paulo",
    "Tromsø",
    "Montréal",
    "Chennai",
    "Porto",
    "Izmir",
    "Reykjavík",
    "Wellington",
    "Kraków",
    "Genève",
]
TOPICS = [
    "heat pumps in old houses",
    "the history of the shipping container",
    "why bread goes stale",
    "how tide tables are computed",
    "urban beekeeping",
    "the trade in second-hand clothes",
    "night trains in Europe",
    "peat bogs and carbon",
    "how vaccines are kept cold",
    "the mathematics of bell ringing",
    "repairing mechanical watches",
    "street lighting and insects",
]
FACTS = [
    "Revenue rose by {n} percent, chiefly in {city}.",
    "The committee met in {city} and put off its decision by {n} weeks.",
    "Of {n} suppliers asked, fewer than half could name a delivery date.",
    "{person} was appointed head of operations as of the first of the month.",
    "Complaints about the {product} fell to {n} a week.",
    "The pilot in {city} showed savings of {n} minutes an order.",
    "An audit found {n} invoices without a purchase order.",
    "Returns of the {product} are handled in {city} from now on.",
    "{person} asked for the figures to be checked once more before they are published.",
    "The contract for the {product} runs out in {n} months and will not be renewed.",
]
SENTENCES = {
    "German": "Könnten Sie mir bitte bestätigen, dass die Lieferung Nr. {n} nach {city} geht?",
    "French": "Où en est ma commande n° {n} ? Elle devait arriver à {city} avant Noël.",
    "Japanese": "注文番号{n}の商品がまだ{city}に届いていません。確認をお願いします。",
    "Arabic": "أرجو تأكيد موعد وصول الطلب رقم {n} إلى {city}.",
    "Polish": "Zażółć gęślą jaźń: zamówienie {n} do {city} jest spóźnione o tydzień.",
    "Hindi": "मेरा ऑर्डर {n} अभी तक {city} नहीं पहुँचा है।",
    "Korean": "주문 {n}번이 {city}에 언제 도착하나요? 🙏",
    "Greek": "Η παραγγελία {n} για {city} δεν έχει φτάσει ακόμη.",  # noqa: RUF001  # it is Greek
    "Ukrainian": "Чи можна змінити адресу замовлення {n} на {city}?",
    "Portuguese": "O pedido {n} para {city} chegou com a embalagem aberta. 😕",
}
HOUSE_STYLE = """\
You write for the operations newsletter of a mid-sized retailer. Its readers know the business \
and have little time.

1. Begin with what changes for the reader; leave out what everybody knows.
2. Sentences of at most twenty-five words, in the active voice, without exclamation marks.
3. Numbers with their unit and with what they are compared to. No percentage without its base.
4. Names of people in full at first, then by surname. No titles.
5. Money in the currency of the source, with the amount first.
6. Nothing that the source does not say. If the source contradicts itself, say so in one line.
7. No adjectives of praise, no outlook, no closing remark.
8. British spelling. Dates as "3 March", times by the twenty-four hour clock.
9. At most three bullet points, and only for things that are truly a list.
10. If something was decided, say who decided it, and as of when it holds."""

ORDER_TOOL: JSON = {
    "name": "record_complaint",
    "description": "Record a customer's complaint in the ticket system.",
    "input_schema": {
        "type": "object",
        "properties": {
            "summary": {"type": "string", "description": "One sentence, in English"},
            "product": {"type": "string"},
            "severity": {"type": "string", "enum": ["low", "medium", "high"]},
            "refund_wanted": {"type": "boolean"},
        },
        "required": ["summary", "product", "severity", "refund_wanted"],
    },
}
WEATHER_TOOL: JSON = {
    "name": "get_weather",
    "description": "Get the weather in a city, now or on one of the next seven days.",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Name of the city"},
            "day": {"type": "integer", "minimum": 0, "maximum": 7},
        },
        "required": ["city"],
    },
}
REVIEW_SCHEMA: JSON = {
    "type": "object",
    "properties": {
        "headline": {"type": "string"},
        "sentiment": {"type": "string", "enum": ["positive", "neutral", "negative"]},
        "topics": {"type": "array", "items": {"type": "string"}},
        "stars": {"type": "integer", "enum": [1, 2, 3, 4, 5]},
    },
    "required": ["headline", "sentiment", "topics", "stars"],
    "additionalProperties": False,
}


def filled(template: str) -> str:
    """Fill in a sentence."""
    return template.format(
        n=random_.randint(2, 980), city=pick(CITIES), person=pick(PEOPLE), product=pick(PRODUCTS)
    )


def complaint() -> str:
    """Write a complaint of a customer."""
    return (
        f"Hello, the {pick(PRODUCTS)} that I bought in {pick(CITIES)} "
        f"(order {random_.randint(100_000, 999_999)}) {filled(pick(FAULTS))}. {pick(WISHES)} "
        f"{pick(PEOPLE)}"
    )


def report(sentences: int) -> str:
    """Write a report of a number of sentences."""
    return " ".join(filled(pick(FACTS)) for _ in range(sentences))


def ask(prompt: Any, max_tokens: int, **more: Any) -> JSON:
    """Make the params of one request."""
    messages = [{"role": "user", "content": prompt}]
    return {"model": pick(MODELS), "max_tokens": max_tokens, "messages": messages, **more}


def classification() -> JSON:
    """Sort a complaint into one of five classes."""
    system = "Answer with one word: delivery, defect, billing, praise or other."
    return ask(complaint(), 16, system=system)


def extraction() -> JSON:
    """Extract data from a complaint with a tool that the model has to call."""
    choice = {"type": "tool", "name": "record_complaint"}
    return ask(complaint(), 512, tools=[ORDER_TOOL, WEATHER_TOOL], tool_choice=choice)


def summary() -> JSON:
    """Summarise a report, with a system prompt that is long enough to cache."""
    style = {"type": "text", "text": HOUSE_STYLE, "cache_control": {"type": "ephemeral"}}
    words = pick([40, 60, 80])
    prompt = f"Sum this up in {words} words:\n\n{report(random_.randint(6, 14))}"
    return ask(prompt, 300, system=[style], stream=pick([True, False]))


def thinking() -> JSON:
    """Ask for a calculation."""
    a, b, c = (random_.randint(11, 96) for _ in range(3))
    prompt = (
        f"A depot in {pick(CITIES)} packs {a} parcels an hour, one in {pick(CITIES)} packs {b}. "
        f"The first starts {c} minutes earlier. When have both together packed "
        f"{random_.randint(9, 60) * 50}?"
    )
    how = pick([{"type": "enabled", "budget_tokens": 2048}, {"type": "adaptive"}])
    return ask(prompt, 4096, thinking=how, stream=pick([True, False]))


def conversation() -> JSON:
    """Continue a conversation."""
    topic = pick(TOPICS)
    messages = [
        {"role": "user", "content": f"What should a beginner know about {topic}?"},
        {"role": "assistant", "content": f"Three things matter about {topic}. First, the scale."},
        {"role": "user", "content": f"I live near {pick(CITIES)}. Does that change anything?"},
        {"role": "assistant", "content": "A little: the climate, and who you can ask."},
        {"role": "user", "content": f"And with a budget of {random_.randint(90, 9000)} euros?"},
    ]
    return {"model": pick(MODELS), "max_tokens": 600, "messages": messages}


def structured() -> JSON:
    """Ask for JSON of a given schema."""
    prompt = f"Review of a {pick(PRODUCTS)}, by {pick(PEOPLE)}: it {filled(pick(FAULTS))}. "
    return ask(
        prompt + pick(WISHES),
        400,
        output_config={"format": {"type": "json_schema", "schema": REVIEW_SCHEMA}},
    )


def essay() -> JSON:
    """Ask for a long text; the emulator takes the length in tokens from the brackets."""
    length = random_.randint(600, 1600)
    prompt = f"Write an essay on {pick(TOPICS)}, for readers in {pick(CITIES)}. [[tokens:{length}]]"
    return ask(prompt, 4000, stream=True)


def translation() -> JSON:
    """Ask for a translation, between any two writing systems."""
    source, target = random_.sample(sorted(SENTENCES), 2)
    prompt = f"Translate from {source} to {target}: {filled(SENTENCES[source])}"
    return ask(prompt, 200, system="Give the translation only. Keep names, numbers and emoji.")


def picture() -> JSON:
    """Ask about a picture on the web."""
    url = f"https://images.example.com/returns/{random_.randint(10_000, 99_999)}.jpg"
    return ask(
        [
            {"type": "image", "source": {"type": "url", "url": url}},
            {"type": "text", "text": f"Is this {pick(PRODUCTS)} damaged? Answer in a sentence."},
        ],
        150,
    )


def document() -> JSON:
    """Ask about a document, with citations."""
    number = random_.randint(100, 999)
    source = {"type": "text", "media_type": "text/plain", "data": report(12)}
    return ask(
        [
            {
                "type": "document",
                "source": source,
                "title": f"Minutes no. {number}",
                "citations": {"enabled": True},
            },
            {"type": "text", "text": f"What do minutes no. {number} say about {pick(CITIES)}?"},
        ],
        400,
    )


def stopped() -> JSON:
    """Ask for a list that ends at a stop sequence."""
    count = random_.randint(3, 9)
    prompt = f"List {count} rules for {pick(TOPICS)}, numbered. Then write ###."
    return ask(prompt, 500, stop_sequences=["###", f"{count + 1}."], stream=pick([True, False]))


def tool_result() -> JSON:
    """Send back the result of a tool."""
    city, call = pick(CITIES), f"toolu_{random_.randint(10**9, 10**10)}"
    found = f"{random_.randint(-9, 34)} °C, wind {random_.randint(1, 60)} km/h"
    result: JSON = {"type": "tool_result", "tool_use_id": call, "content": found}
    if random_.random() < 0.2:  # noqa: PLR2004  # one in five fails
        result |= {"content": f"no station in {city}", "is_error": True}
    used = {"type": "tool_use", "id": call, "name": "get_weather", "input": {"city": city}}
    messages = [
        {
            "role": "user",
            "content": f"I get to {city} at {random_.randint(0, 23)}:05. Do I need a coat?",
        },
        {"role": "assistant", "content": [{"type": "text", "text": "Let me see."}, used]},
        {"role": "user", "content": [result]},
    ]
    return {"model": pick(MODELS), "max_tokens": 300, "messages": messages, "tools": [WEATHER_TOOL]}


def older_model() -> JSON:
    """Ask a model that still takes sampling parameters, on behalf of a user."""
    params = ask(
        f"Suggest a name for a shop in {pick(CITIES)} that sells one kind of {pick(PRODUCTS)}.",
        60,
        temperature=pick([0.0, 0.5, 1.0]),
        metadata={"user_id": f"u-{random_.randint(1000, 9999)}"},
    )
    return {**params, "model": "claude-haiku-4-5"}


KINDS: list[tuple[int, Callable[[], JSON]]] = [
    (20, classification),
    (14, extraction),
    (10, summary),
    (8, thinking),
    (8, conversation),
    (8, structured),
    (5, essay),
    (10, translation),
    (5, picture),
    (4, document),
    (4, stopped),
    (6, tool_result),
    (4, older_model),
]


def requests() -> Iterator[JSON]:
    """Make the requests. All differ, so that each answer belongs to one request."""
    weights, makers = zip(*KINDS, strict=True)
    seen: set[str] = set()
    while len(seen) < COUNT:
        (maker,) = random_.choices(makers, weights)
        params = maker()
        messages = json.dumps(params["messages"])
        if messages not in seen:
            seen.add(messages)
            custom_id = f"{maker.__name__.replace('_', '-')}-{len(seen):04}"
            yield {"custom_id": custom_id, "params": params}


if __name__ == "__main__":
    for request in requests():
        line = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
        sys.stdout.buffer.write(line.encode() + b"\n")
