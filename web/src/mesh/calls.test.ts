import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createCalls } from "./calls.ts";
import { SignalError } from "./errors.ts";
import type { InviteDone } from "./protocol.ts";
import { fakeSignaling } from "./testing/fake-signaling.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const settle = () => vi.advanceTimersByTimeAsync(0);

function setup() {
  const server = fakeSignaling();
  server.up();
  const calls = createCalls(server.signaling);
  const log: string[] = [];
  calls.on("missed", ({ call, outcome }) => log.push(`${call.from.name} ${outcome}`));
  calls.on("outcome", ({ sub, state, code }) => log.push(`${sub} ${state}${code && ` ${code}`}`));
  const rung = (call_id: string, name = "Ada") =>
    server.emit("invite", { call_id, meeting_id: "k", from: { sub: "a", name }, expires_in_ms: 60_000 });
  return { server, calls, log, rung, ids: () => calls.incoming().map(({ callId }) => callId) };
}

describe("being rung", () => {
  test("rings once for each call, until its time is over", async () => {
    const { log, rung, ids } = setup();
    rung("n/1");
    rung("n/1");
    await vi.advanceTimersByTimeAsync(1_000);
    rung("n/2", "Bob");
    expect(ids()).toEqual(["n/1", "n/2"]);
    await vi.advanceTimersByTimeAsync(59_000);
    expect(ids()).toEqual(["n/2"]);
    expect(log).toEqual(["Ada no_answer"]);
  });

  test("an answer stops the ringing at once, and is no missed call", async () => {
    const { server, calls, log, rung, ids } = setup();
    rung("n/1");
    const answered = calls.answer("n/1", "accept");
    expect(ids()).toEqual([]);
    await answered;
    server.emit("inviteHandled", { call_id: "n/1", state: "accepted" });
    expect(server.calls).toEqual(["accept n/1"]);
    expect(log).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each(["accepted", "rejected", "busy", "cancelled", "no_answer"])("stops when it is %s", (state) => {
    const { server, log, rung, ids } = setup();
    rung("n/1");
    server.emit("inviteHandled", { call_id: "n/of another", state });
    expect(ids()).toEqual(["n/1"]);
    server.emit("inviteHandled", { call_id: "n/1", state });
    expect(ids()).toEqual([]);
    expect(log).toEqual([`Ada ${state}`]);
  });

  test("a lost connection can answer nothing", () => {
    const { server, log, rung, ids } = setup();
    rung("n/1");
    rung("n/2", "Bob");
    server.down();
    expect(ids()).toEqual([]);
    expect(log).toEqual(["Ada lost", "Bob lost"]);
  });
});

describe("ringing", () => {
  const states = ({ calls }: ReturnType<typeof setup>) =>
    calls.outgoing().map(({ sub, state }) => `${sub} ${state}`);

  test("rings, and tells what became of it", async () => {
    const t = setup();
    t.calls.ring("bob");
    expect(states(t)).toEqual(["bob calling"]);
    await settle();
    expect(states(t)).toEqual(["bob ringing"]);
    t.calls.ring("bob"); // twice at a time is once
    expect(t.server.calls).toEqual(["invite bob"]);
    t.server.emit("inviteUpdate", { call_id: "n/1", state: "rejected" });
    t.server.emit("inviteUpdate", { call_id: "n/1", state: "no_answer" });
    expect(states(t)).toEqual(["bob rejected"]);
    expect(t.log).toEqual(["bob rejected"]);
  });

  test("what becomes of a call may come before it has a name", async () => {
    const t = setup();
    let ack = (_: InviteDone) => {};
    t.server.answers.invite = () =>
      new Promise((resolve) => {
        ack = resolve;
      });
    t.calls.ring("bob");
    await settle();
    t.server.emit("inviteUpdate", { call_id: "n/7", state: "busy" });
    ack({ call_id: "n/7", expires_in_ms: 60_000 });
    await settle();
    expect(t.log).toEqual(["bob busy"]);
  });

  test("a refusal is told with its code, and may be tried again", async () => {
    const t = setup();
    t.server.answers.invite = async () => {
      throw new SignalError({ code: "peer_gone", message: "" });
    };
    t.calls.ring("bob");
    await settle();
    expect(t.log).toEqual(["bob refused peer_gone"]);
    t.calls.ring("bob");
    expect(states(t)).toEqual(["bob calling"]);
  });

  test("is cancelled by us, when the server says so; also before it rings", async () => {
    const t = setup();
    t.calls.ring("bob");
    t.calls.cancel(1);
    expect(t.server.calls).toEqual(["invite bob"]);
    await settle();
    expect(t.server.calls).toEqual(["invite bob", "cancel n/1"]);
    t.server.emit("inviteUpdate", { call_id: "n/1", state: "cancelled" });
    expect(t.log).toEqual(["bob cancelled"]);
    t.calls.cancel(1);
    expect(t.server.calls.length).toBe(2);
  });

  test("ends with the connection", async () => {
    const t = setup();
    t.calls.ring("bob");
    await settle();
    t.server.down();
    expect(t.log).toEqual(["bob lost"]);
  });
});

test("closed, nothing rings any more", () => {
  const { calls, rung, ids } = setup();
  rung("n/1");
  calls.close();
  rung("n/2");
  expect(ids()).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});
