import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { localError, SignalError } from "./errors.ts";
import { createOutbox } from "./outbox.ts";
import type { SignalOut } from "./protocol.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function outbox() {
  const sent: string[] = [];
  const errors: unknown[] = [];
  const state = { ready: true };
  const server = { answer: async (_: SignalOut): Promise<void> => {} };
  const box = createOutbox({
    ready: () => state.ready,
    async send(message) {
      await server.answer(message);
      sent.push(`${message.to} ${message.neg}`);
    },
    onError: (error) => errors.push(error),
  });
  const say = (to: string, ...negs: string[]) => {
    for (const neg of negs) box.push(to, { kind: "renegotiate", neg });
  };
  return { box, sent, errors, state, server, say };
}

const notYet = (retry_after_ms?: number) =>
  new SignalError({
    code: "unavailable",
    message: "",
    ...(retry_after_ms === undefined ? {} : { retry_after_ms }),
  });

test("what comes too early for a participant is sent again in order, and holds up no other", async () => {
  const { sent, server, say } = outbox();
  let refusals = 2;
  server.answer = async ({ to }) => {
    if (to === "a" && refusals-- > 0) throw notYet(300);
  };
  say("a", "1", "2", "3");
  say("b", "1");
  await vi.advanceTimersByTimeAsync(0);
  expect(sent).toEqual(["b 1"]);
  await vi.advanceTimersByTimeAsync(299);
  say("a", "4");
  await vi.advanceTimersByTimeAsync(300);
  expect(sent).toEqual(["b 1"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(sent).toEqual(["b 1", "a 1", "a 2", "a 3", "a 4"]);
});

test("what is never taken is given up, and what follows has its turn", async () => {
  const { sent, errors, server, say } = outbox();
  let asked = 0;
  server.answer = async ({ neg }) => {
    if (neg !== "1") return;
    asked++;
    throw notYet();
  };
  say("a", "1", "2");
  await vi.advanceTimersByTimeAsync(120_000);
  expect(sent).toEqual(["a 2"]);
  expect(errors.length).toBe(1);
  expect(asked).toBeLessThanOrEqual(120);
});

test("what was under way when the connection broke goes out first when it is back", async () => {
  const { box, sent, state, server, say } = outbox();
  server.answer = () => Promise.reject(localError("disconnected", "the connection was lost"));
  say("a", "1", "2");
  state.ready = false;
  await vi.advanceTimersByTimeAsync(60_000);
  say("a", "3");
  server.answer = async () => {};
  state.ready = true;
  box.flush();
  await vi.advanceTimersByTimeAsync(0);
  expect(sent).toEqual(["a 1", "a 2", "a 3"]);
});

test("after a bye nothing said before it is sent any more", async () => {
  const { box, sent, server, say } = outbox();
  server.answer = () => Promise.reject(notYet(1_000));
  say("a", "1", "2");
  await vi.advanceTimersByTimeAsync(0);
  server.answer = async () => {};
  box.push("a", { kind: "bye", neg: "bye" });
  say("a", "3");
  await vi.advanceTimersByTimeAsync(1_000);
  expect(sent).toEqual(["a bye", "a 3"]);
});

test("candidates that wait travel together, a signal's worth at a time, those of one offer", async () => {
  const { box, server } = outbox();
  const sent: SignalOut[] = [];
  server.answer = (message) => {
    sent.push(message);
    return new Promise((resolve) => setTimeout(resolve, 300));
  };
  const offer = (neg: string) => box.push("a", { kind: "offer", neg, sdp: "v=0", restart: false });
  const find = (neg: string, candidate: string, end = false) => {
    const list = end ? [] : [{ candidate, sdpMid: "0", sdpMLineIndex: 0, usernameFragment: "u" }];
    box.push("a", { kind: "candidates", neg, list, end });
  };
  offer("1");
  for (let i = 0; i < 40; i++) find("1", `c${i}`);
  find("1", "", true);
  offer("2");
  find("2", "d");
  await vi.advanceTimersByTimeAsync(4 * 300 + 1);
  expect(
    sent.map((m) => `${m.kind} ${m.neg} ${m.kind === "candidates" ? `${m.list.length} ${m.end}` : ""}`),
  ).toEqual([
    "offer 1 ",
    "candidates 1 30 false",
    "candidates 1 10 true",
    "offer 2 ",
    "candidates 2 1 false",
  ]);
  expect(
    sent.flatMap((m) => (m.kind === "candidates" && m.neg === "1" ? m.list : [])).map((c) => c.candidate),
  ).toEqual(Array.from({ length: 40 }, (_, i) => `c${i}`));
});

test("for who has left nothing is sent", async () => {
  const { box, sent, errors, server, say } = outbox();
  server.answer = () => Promise.reject(notYet(100));
  say("a", "1");
  await vi.advanceTimersByTimeAsync(0);
  box.drop("a");
  server.answer = async () => {};
  await vi.advanceTimersByTimeAsync(1_000);
  expect([sent, errors]).toEqual([[], []]);
});
