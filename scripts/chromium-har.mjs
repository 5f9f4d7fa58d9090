// Makes the HARs of a real browser that tests/fixtures/har has: a page speaks a WebSocket, an EventSource and a POST stream with the
// built-in upstream of `mockd serve --demo`, all on loopback; one HAR is Playwright's own (`recordHar`), the other is put together from
// the browser's protocol in the way its developer tools do when they save a HAR.
//
// Needs Node 20, a Chromium and `npm install playwright-core` in the directory that it runs from.
// Usage: node scripts/chromium-har.mjs MOCKD CHROMIUM OUTPUT-DIRECTORY

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [mockd, executablePath, output] = process.argv.slice(2).map((path) => resolve(path));
const { chromium } = createRequire(resolve("package.json"))("playwright-core");
const work = mkdtempSync(join(tmpdir(), "chromium-har-"));

// A browser's own names of the machine it runs on have no place in a fixture.
const foreignFields = /^(user-agent|sec-ch-ua.*|accept-language)$/i;
const clean = (har) => {
  for (const entry of har.log.entries) {
    entry.request.headers = entry.request.headers.filter(({ name }) => !foreignFields.test(name));
    for (const field of ["_frameref", "_monotonicTime"]) delete entry[field];
  }
  return har;
};
const write = (name, har) => writeFileSync(join(output, name), JSON.stringify(clean(har), null, 1) + "\n");

const server = spawn(mockd, ["serve", "--demo", "--port", "0", "--admin-port", "0", "--data-dir", join(work, "data"), "--json"]);
const ready = JSON.parse(await new Promise((told) => server.stdout.once("data", (line) => told(line.toString()))));

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const context = await browser.newContext({ recordHar: { path: join(work, "playwright.har"), content: "embed" } });
const page = await context.newPage();
const devtools = await context.newCDPSession(page);
await devtools.send("Network.enable");

// What the developer tools keep of a request, by its id.
const requests = new Map();
const wall = (request, timestamp) => request.wallTime + timestamp - request.timestamp;
const pairs = (headers) => Object.entries(headers ?? {}).map(([name, value]) => ({ name, value }));
const message = (type) => ({ requestId, timestamp, response }) => {
  const request = requests.get(requestId);
  request.messages.push({ type, time: wall(request, timestamp), opcode: response.opcode, data: response.payloadData });
};
devtools.on("Network.requestWillBeSent", (event) => {
  requests.set(event.requestId, { ...event, events: [], url: event.request.url, method: event.request.method });
});
devtools.on("Network.webSocketCreated", ({ requestId, url }) => requests.set(requestId, { url, method: "GET", type: "WebSocket", messages: [] }));
devtools.on("Network.webSocketWillSendHandshakeRequest", (event) => Object.assign(requests.get(event.requestId), event));
devtools.on("Network.webSocketHandshakeResponseReceived", ({ requestId, timestamp, response }) =>
  Object.assign(requests.get(requestId), { response, headAt: timestamp }));
devtools.on("Network.webSocketFrameSent", message("send"));
devtools.on("Network.webSocketFrameReceived", message("receive"));
devtools.on("Network.webSocketClosed", ({ requestId, timestamp }) => (requests.get(requestId).endAt = timestamp));
devtools.on("Network.responseReceived", ({ requestId, timestamp, response }) =>
  Object.assign(requests.get(requestId), { response, headAt: timestamp }));
devtools.on("Network.eventSourceMessageReceived", ({ requestId, timestamp, eventName, eventId, data }) => {
  const request = requests.get(requestId);
  request.events.push({ time: wall(request, timestamp), eventName, eventId, data });
});
devtools.on("Network.loadingFinished", ({ requestId, timestamp }) => (requests.get(requestId).endAt = timestamp));
devtools.on("Network.loadingFailed", ({ requestId, timestamp, errorText }) =>
  Object.assign(requests.get(requestId), { endAt: timestamp, error: errorText }));

await page.goto(`${ready.mock}/`);
await page.evaluate(async () => {
  await new Promise((done, failed) => {
    const socket = new WebSocket(`ws://${location.host}/ws/chat?room=general`);
    socket.onerror = failed;
    socket.onclose = done;
    let received = 0;
    socket.onopen = () => {
      socket.send('{"type":"join","room":"general"}');
      socket.send(new Uint8Array([0, 1, 254, 255]));
      socket.send("bye \u{1F44B}");
    };
    socket.onmessage = () => {
      received += 1;
      if (received === 8) socket.close(1000, "done");
    };
  });
  await new Promise((done) => {
    const source = new EventSource("/events");
    source.onerror = () => {
      source.close();
      done();
    };
  });
  const body = JSON.stringify({ model: "demo", stream: true, messages: [{ role: "user", content: "hi" }] });
  const answer = await fetch("/v1/chat/completions", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  await answer.text();
});

const entries = [];
for (const [requestId, request] of requests) {
  const { response, messages, events, headAt, endAt, timestamp } = request;
  let body;
  try {
    body = await devtools.send("Network.getResponseBody", { requestId });
  } catch {
    // The browser keeps no body of a WebSocket or an event source.
  }
  const ms = (from, to) => (from === undefined || to === undefined ? -1 : Math.max(0, (to - from) * 1000));
  const entry = {
    _connectionId: "1",
    _initiator: { type: "script" },
    _priority: messages ? null : "High",
    _resourceType: (request.type ?? "other").toLowerCase(),
    cache: {},
    request: {
      method: request.method,
      url: request.url,
      httpVersion: "http/1.1",
      headers: pairs(response?.requestHeaders ?? request.request?.headers),
      queryString: [...new URL(request.url).searchParams].map(([name, value]) => ({ name, value })),
      cookies: [],
      headersSize: -1,
      bodySize: request.request?.postData?.length ?? 0,
    },
    response: {
      status: response?.status ?? 0,
      statusText: response?.statusText ?? "",
      httpVersion: "http/1.1",
      headers: pairs(response?.headers),
      cookies: [],
      content: { size: body?.body.length ?? 0, mimeType: response?.mimeType ?? "x-unknown" },
      redirectURL: "",
      headersSize: -1,
      bodySize: -1,
      _transferSize: 0,
      _error: request.error ?? null,
    },
    serverIPAddress: "127.0.0.1",
    startedDateTime: new Date(request.wallTime * 1000).toISOString(),
    time: ms(timestamp, endAt),
    timings: { blocked: -1, dns: -1, ssl: -1, connect: -1, send: 0, wait: ms(timestamp, headAt), receive: ms(headAt, endAt) },
  };
  if (body) {
    entry.response.content.text = body.body;
    if (body.base64Encoded) entry.response.content.encoding = "base64";
  }
  if (request.request?.postData) {
    entry.request.postData = { mimeType: "application/json", text: request.request.postData };
  }
  if (messages) entry._webSocketMessages = messages;
  if (request.type === "EventSource") entry._eventSourceMessages = events;
  entries.push(entry);
}
write("chromium-devtools.har", { log: { version: "1.2", creator: { name: "WebInspector", version: "537.36" }, pages: [], entries } });

await context.close();
await browser.close();
write("chromium-playwright.har", JSON.parse(readFileSync(join(work, "playwright.har"), "utf8")));
server.kill("SIGTERM");
rmSync(work, { recursive: true });
