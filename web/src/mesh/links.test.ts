import { afterEach, expect, test, vi } from "vitest";
import { createSignaling, openSocket, type Signaling } from "./signaling.ts";
import { type BadLink, badLink } from "./testing/bad-link.ts";
import { createTransports, openMs } from "./transports.ts";

let link: BadLink;
let signaling: Signaling;

afterEach(async () => {
  signaling?.close();
  await link?.close();
});

async function over(faults: Partial<Pick<BadLink, "webSocket" | "http">>) {
  link = Object.assign(await badLink(), faults);
  signaling = createSignaling(openSocket(link.base));
  const refusals: string[] = [];
  signaling.on("refused", ({ code }) => refusals.push(code));
  return refusals;
}

const ready = (timeout: number) => vi.waitFor(() => expect(signaling.ready()).toBe(true), { timeout });

test("a proxy that swallows upgrades costs seconds: polling is tried in place of the WebSocket", async () => {
  await over({ webSocket: "swallow" });
  await ready(openMs[0] + 3_000);
  expect(link.seen[0]).toBe("upgrade");
}, 15_000);

test("a proxy that cuts upgrades off costs nothing: polling follows at once", async () => {
  await over({ webSocket: "refuse" });
  await ready(2_000);
});

test("a sign-in page in the server's place is told, and the server found when it is over", async () => {
  const refusals = await over({ webSocket: "refuse", http: "portal" });
  await vi.waitFor(() => expect(refusals).toContain("intercepted"), { timeout: 3_000 });
  Object.assign(link, { webSocket: "work", http: "work" });
  await ready(6_000);
}, 15_000);

test("a server that is full says so over HTTP, and is asked again when it said", async () => {
  const refusals = await over({ webSocket: "refuse", http: "full" });
  await vi.waitFor(() => expect(refusals).toContain("server_full"), { timeout: 3_000 });
  link.http = "work";
  await ready(6_000);
}, 15_000);

test("a link that falls silent is given up after the heartbeat's time, and made anew", async () => {
  await over({ webSocket: "fall silent" });
  await ready(2_000);
  let losses = 0;
  signaling.on("lost", () => losses++);
  link.webSocket = "work";
  await vi.waitFor(() => expect(losses).toBe(1), { timeout: 3_000 });
  await ready(3_000);
});

test("what hangs goes last, more time is given only when both hang, and what works stays", () => {
  const calls: number[] = [];
  const manager = {
    opts: { transports: ["websocket", "polling"], tryAllTransports: true },
    timeout: (ms: number) => calls.push(ms),
  };
  const transports = createTransports(manager);
  const first = () => [manager.opts.transports[0], manager.opts.tryAllTransports];
  transports.hung();
  expect(first()).toEqual(["polling", false]);
  transports.hung();
  expect(first()).toEqual(["websocket", true]);
  transports.hung();
  expect(calls).toEqual([4_000, 8_000, 8_000]);
  transports.worked();
  expect(first()).toEqual(["polling", false]);
  expect(calls.at(-1)).toBe(4_000);
  transports.failed(); // and HTTP has not answered
  expect(first()).toEqual(["websocket", true]);
  transports.failed();
  expect(first()).toEqual(["websocket", true]);
});
