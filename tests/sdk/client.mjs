// Scenarios with the npm `openai` SDK: node client.mjs <folder of node_modules> <base URL> <scenario>...; tells JSON.
import { createRequire } from "node:module";

const [folder, baseURL, ...wanted] = process.argv.slice(2);
const { OpenAI } = createRequire(`${folder}/`)("openai");
const client = new OpenAI({ baseURL, apiKey: "sk-own", maxRetries: 0 });

const question = "What is the weather in Paris and Oslo?";
const asked = { model: "gpt-4o", messages: [{ role: "user", content: question }] };
const parameters = { type: "object", properties: { city: { type: "string" } } };
const tools = [{ type: "function", function: { name: "weather", parameters } }];
const input = { model: "gpt-4o", input: question };

const callsOf = (message) => message.tool_calls.map((call) => [call.id, call.function.name, call.function.arguments]);

async function streamed(fields) {
  const stream = await client.chat.completions.create({ ...fields, stream: true });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  return text;
}

async function failure(ask) {
  try {
    return { nothing: await ask() };
  } catch (error) {
    return {
      kind: error.constructor.name,
      status: error.status ?? null,
      wait: error.headers?.get?.("retry-after") ?? null,
      typed: error instanceof OpenAI.APIError,
    };
  }
}

const scenarios = {
  chat: async () => (await client.chat.completions.create(asked)).choices[0].message.content,
  stream: () => streamed(asked),
  tools: async () => callsOf((await client.chat.completions.create({ ...asked, tools })).choices[0].message),
  streamed_tools: async () => callsOf(await client.chat.completions.stream({ ...asked, tools }).finalMessage()),
  run_tools: async () => {
    const weather = { name: "weather", parameters, parse: JSON.parse, function: async () => "rain" };
    const runner = client.chat.completions.runTools({ ...asked, tools: [{ type: "function", function: weather }] });
    return runner.finalContent();
  },
  response: async () => (await client.responses.create(input)).output_text,
  streamed_response: async () => {
    const stream = client.responses.stream(input);
    const kinds = [];
    for await (const event of stream) kinds.push(event.type);
    return { text: (await stream.finalResponse()).output_text, last: kinds.at(-1) };
  },
  models: async () => (await client.models.list()).data.map((model) => model.id),
  error: () => failure(() => client.chat.completions.create(asked)),
  streamed_error: () => failure(() => streamed(asked)),
  leave: async () => {
    const stream = await client.chat.completions.create({ ...asked, stream: true });
    for await (const chunk of stream) {
      stream.controller.abort();
      return chunk.choices[0].delta.content;
    }
  },
};

const told = [];
for (const scenario of wanted) told.push(await scenarios[scenario]());
console.log(JSON.stringify(told));
