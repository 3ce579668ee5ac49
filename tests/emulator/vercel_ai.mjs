// Calls an emulator by the Vercel AI SDK: prints what failed. Run by test_vercel_ai.py.
import { generateText, streamText, tool, jsonSchema } from "ai";
import { createAnthropic } from "@ai-sdk/anthropic";
const anthropic = createAnthropic({ baseURL: process.argv[2] + "/v1", apiKey: "any" });
const model = anthropic("claude-sonnet-5-5");
const tools = { weather: tool({ description: "w", inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } }, required: ["city"] }) }) };
async function collect(options) { const r = streamText({ model, maxOutputTokens: 200, maxRetries: 0, ...options, onError() {} }); let kinds = {}; for await (const part of r.fullStream) { if (part.type === "error") throw part.error; kinds[part.type] = 1 + (kinds[part.type] || 0); } return kinds; }
const cases = {
  text: () => generateText({ model, maxOutputTokens: 200, prompt: "Hello", maxRetries: 0 }).then(r => r.text),
  stream: () => collect({ prompt: "Hello" }),
  tool: () => generateText({ model, maxOutputTokens: 200, prompt: "[[tool]]", tools, maxRetries: 0 }).then(r => r.toolCalls.length),
  "tool stream": () => collect({ prompt: "[[tool]]", tools }),
  thinking: () => generateText({ model, maxOutputTokens: 2000, prompt: "Hello", maxRetries: 0, providerOptions: { anthropic: { thinking: { type: "adaptive" } } } }).then(r => r.text.length),
  "thinking stream": () => collect({ prompt: "Hello", maxOutputTokens: 2000, providerOptions: { anthropic: { thinking: { type: "adaptive" } } } }),
};
let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try { const got = await run(); if (!got) throw new Error("nothing"); }
  catch (e) { failed++; console.log(name, String(e), String(e.cause || "")); }
}
process.exit(failed ? 1 : 0);
