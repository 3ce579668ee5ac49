"""Server-sent events as the standard words them: a second reader, to compare ours with."""


def reference(data):
    """Read events as the standard words it, a character at a time."""
    text = data.decode("utf-8", "replace")
    text = text.removeprefix("\ufeff")
    events, line, after_cr = [], "", False
    name, buffer = "", ""
    for character in text:
        if character == "\n" and after_cr:
            after_cr = False
            continue
        after_cr = character == "\r"
        if character not in "\r\n":
            line += character
            continue
        if line == "":
            if buffer != "":
                events.append((name, buffer[:-1]))
            name, buffer = "", ""
        elif not line.startswith(":"):
            field, colon, value = line.partition(":")
            if colon and value.startswith(" "):
                value = value[1:]
            if field == "event":
                name = value
            elif field == "data":
                buffer += value + "\n"
        line = ""
    return events
