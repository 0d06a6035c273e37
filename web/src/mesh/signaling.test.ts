import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createSignaling, type SocketLike } from "./signaling.ts";
import { welcome } from "./testing/fake-signaling.ts";
import { joinAck } from "./testing/people.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function fakeSocket() {
  const listeners = new Map<string, (...args: unknown[]) => void>();
  const sent: { event: string; payload: unknown; answer(value: unknown): void; fail(): void }[] = [];
  const calls: string[] = [];
  const socket: SocketLike = {
    connected: true,
    active: false,
    auth: {},
    on: (event, listener) => listeners.set(event, listener as (...args: unknown[]) => void),
    timeout: () => ({
      emitWithAck: (event, payload) =>
        new Promise((answer, reject) => {
          sent.push({ event, payload, answer, fail: () => reject(new Error("operation has timed out")) });
        }),
    }),
    connect: () => calls.push("connect"),
    disconnect: () => calls.push("disconnect"),
    io: {
      opts: { transports: ["websocket", "polling"], tryAllTransports: true },
      on: (event, listener) => listeners.set(`io ${event}`, listener),
      timeout: (ms) => calls.push(`timeout ${ms}`),
      _close: () => calls.push("let go"),
      reconnection: (on) => calls.push(`reconnection ${on}`),
      engine: { close: () => calls.push("close the transport") },
    },
  };
  const receive = (event: string, ...args: unknown[]) => listeners.get(event)?.(...args);
  return { socket, sent, calls, receive };
}

function connected() {
  const fake = fakeSocket();
  const signaling = createSignaling(fake.socket);
  fake.receive("connect");
  fake.receive("welcome", welcome);
  return { ...fake, signaling };
}

test("is ready only once the server has greeted", () => {
  const { socket, receive } = fakeSocket();
  const signaling = createSignaling(socket);
  receive("connect");
  expect(signaling.ready()).toBe(false);
  receive("welcome", welcome);
  expect(signaling.ready()).toBe(true);
});

test("who closes hears that it is over, also while the connection was lost already", () => {
  const { signaling, socket } = connected();
  const finals: boolean[] = [];
  signaling.on("lost", ({ final }) => finals.push(final));
  (socket as { connected: boolean }).connected = false;
  signaling.close();
  expect(finals).toEqual([true]);
});

test("a connection that is refused is said so, and tried again, later each time", async () => {
  const { socket, receive, calls } = fakeSocket();
  const signaling = createSignaling(socket);
  const refusals: unknown[] = [];
  signaling.on("refused", (refusal) => refusals.push(refusal));
  const refuse = (more: object) => receive("connect_error", Object.assign(new Error("refused"), more));

  refuse({ data: { code: "too_many_from_ip", message: "Too many.", retry_after_ms: 5_000 } });
  await vi.advanceTimersByTimeAsync(4_900);
  expect(calls).toEqual([]);
  await vi.advanceTimersByTimeAsync(3_000);
  expect(calls).toEqual(["connect"]);

  refuse({ description: 403, context: { responseText: "<html>No</html>" } });
  refuse({ description: 503, context: { responseText: '{"code":"server_draining","retry_after_ms":1}' } });
  refuse({ description: 502, context: { responseText: "<html>Bad gateway</html>" } });
  refuse({ description: new Event("error") }); // nothing has answered
  expect(refusals.map((refusal) => (refusal as { code: string }).code)).toEqual([
    "too_many_from_ip",
    "forbidden",
    "server_draining",
    "unreachable",
  ]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(calls).toEqual(["connect", "connect"]);

  calls.length = 0;
  (socket as { active: boolean }).active = true; // the library tries again by itself, within seconds
  refuse({ description: 502, context: { responseText: "<html>Bad gateway</html>" } });
  refuse({ description: new Event("error") });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(calls).toEqual([]);
  refuse({ description: 503, context: { responseText: '{"code":"server_full","retry_after_ms":20000}' } });
  await vi.advanceTimersByTimeAsync(19_900);
  expect(calls).toEqual(["disconnect"]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(calls).toEqual(["disconnect", "connect"]);
});

test("a proxy's Retry-After is kept, and nobody is made to wait for ever", async () => {
  const { socket, receive, calls } = fakeSocket();
  createSignaling(socket);
  (socket as { active: boolean }).active = true;
  const context = { responseText: "<html>", getResponseHeader: () => "86400" };
  receive("connect_error", Object.assign(new Error("refused"), { description: 503, context }));
  await vi.advanceTimersByTimeAsync(59_900);
  expect(calls).toEqual(["disconnect"]);
  await vi.advanceTimersByTimeAsync(31_000);
  expect(calls).toEqual(["disconnect", "connect"]);
});

test("a network that answers in the server's place is told from a server that is away", () => {
  const { socket, receive } = fakeSocket();
  const refusals: unknown[] = [];
  createSignaling(socket).on("refused", ({ code }) => refusals.push(code));
  receive("connect_error", Object.assign(new Error("server error"), { code: "parser error" }));
  receive("connect_error", Object.assign(new Error("xhr poll error"), { description: 511 }));
  receive("connect_error", new Error("websocket error"));
  expect(refusals).toEqual(["intercepted", "intercepted"]);
});

test("news of the network ends the wait for a connection, and tries one that seems to be there", async () => {
  const { signaling, receive, calls, sent } = connected();
  signaling.check();
  signaling.check(); // the same news
  expect(sent.map(({ event }) => event)).toEqual(["heartbeat"]);
  sent[0]?.answer({ ok: true, time: 1 });
  await vi.advanceTimersByTimeAsync(1_500);
  expect(calls).toEqual([]);
  signaling.check();
  sent[1]?.fail();
  await vi.advanceTimersByTimeAsync(1_500);
  expect(calls).toEqual(["let go", "connect"]);
  receive("disconnect", "forced close");
  calls.length = 0;
  signaling.check();
  expect(calls).toEqual(["disconnect", "connect"]);
  signaling.close();
  calls.length = 0;
  await vi.advanceTimersByTimeAsync(1_500);
  signaling.check();
  expect(calls).toEqual([]);
});

test("when it was last heard of the server is told with the loss, also to one that has slept", async () => {
  const { signaling, receive } = connected();
  const losses: number[] = [];
  signaling.on("lost", ({ since }) => losses.push(since));
  await vi.advanceTimersByTimeAsync(5_000);
  receive("io ping");
  const last = Date.now();
  await vi.advanceTimersByTimeAsync(4_000);
  receive("disconnect", "ping timeout");
  expect(losses).toEqual([last]);
  receive("welcome", welcome);
  const before = Date.now();
  await vi.advanceTimersByTimeAsync(60_000); // asleep; then what has come meanwhile is handed over
  receive("io ping");
  receive("disconnect", "transport close");
  expect(losses).toEqual([last, before]);
});

test("the seat's token goes with the handshake, beside what is there", () => {
  const { socket } = fakeSocket();
  socket.auth = { token: "eyJ" };
  const signaling = createSignaling(socket);
  signaling.holds("rt_1");
  expect(socket.auth).toEqual({ token: "eyJ", resume_token: "rt_1" });
  signaling.holds(undefined);
  expect(socket.auth).toEqual({ token: "eyJ" });
});

test("a server that does not greet is left and tried again", async () => {
  const { socket, receive, calls } = fakeSocket();
  createSignaling(socket);
  receive("connect");
  await vi.advanceTimersByTimeAsync(5_300);
  expect(calls).toEqual(["timeout 4000", "disconnect", "connect"]);
  calls.length = 0;
  receive("io open"); // not even the namespace is joined
  await vi.advanceTimersByTimeAsync(5_300);
  expect(calls).toEqual(["timeout 8000", "disconnect", "connect"]);
});

test("dropping the connection tells the server of no leave, and ends the reconnecting", () => {
  const { signaling, calls } = connected();
  signaling.drop();
  expect(calls).toEqual(["reconnection false", "close the transport"]);
});

test("join speaks protocol 2 and returns the checked ack", async () => {
  const { signaling, sent } = connected();
  const joining = signaling.join({
    meeting_id: "k",
    user_id: "u",
    name: "u",
    media: { audio: true, video: true },
  });
  expect(sent[0]).toMatchObject({
    event: "join",
    payload: { v: 2, SDP: "", CANDIDATE: "", meeting_id: "k" },
  });
  const ack = joinAck("p_1", 3, []);
  sent[0]?.answer({ ok: true, ...ack });
  expect(await joining).toEqual(ack);
});

test("a refusal carries its code, field and time to wait", async () => {
  const { signaling, sent } = connected();
  const renaming = signaling.rename("x");
  sent[0]?.answer({
    ok: false,
    code: "rate_limited",
    message: "slow down",
    retry_after_ms: 250,
    field: "name",
  });
  await expect(renaming).rejects.toMatchObject({ code: "rate_limited", retryAfterMs: 250, field: "name" });
});

test("no answer is a timeout, a lost connection is not", async () => {
  const { signaling, sent, receive } = connected();
  const first = signaling.leave();
  sent[0]?.fail();
  await expect(first).rejects.toMatchObject({ code: "timeout" });
  const second = signaling.leave();
  receive("disconnect", "transport close");
  sent[1]?.fail();
  await expect(second).rejects.toMatchObject({ code: "disconnected" });
  await expect(signaling.leave()).rejects.toMatchObject({ code: "disconnected" });
  expect(sent.length).toBe(2);
});

test("an answer that breaks the contract is not believed", async () => {
  const { signaling, sent } = connected();
  const syncing = signaling.sync(1);
  sent[0]?.answer({ ok: true, rev: "7", peers: [] });
  await expect(syncing).rejects.toMatchObject({ code: "malformed" });
});

test("what a host does, and says to hosts and to who waits, arrives as events", async () => {
  const { signaling, sent, receive } = connected();
  const { meeting } = joinAck("p_1", 3, []);
  const seen: string[] = [];
  signaling.on("state", ({ rev, policy }) => seen.push(`state ${rev} ${policy.camera}`));
  signaling.on("moderated", ({ action, peer_id }) => seen.push(`${action} ${peer_id}`));
  signaling.on("lobby", ({ waiting }) => seen.push(`waiting ${waiting.length}`));
  signaling.on("admitted", ({ meeting_id }) => seen.push(`admitted ${meeting_id}`));
  signaling.on("denied", ({ meeting_id }) => seen.push(`denied ${meeting_id}`));
  signaling.on("malformed", ({ event }) => seen.push(`malformed ${event}`));
  receive("room_state", { ...meeting, rev: 4 });
  receive("room_state", { rev: 5 });
  receive("moderated", { action: "mute", peer_id: "p_1", at: 1 });
  receive("lobby", { rev: 6, waiting: [{ ticket: "w", user_id: "u", name: "n", since: 1 }] });
  receive("admitted", { meeting_id: "k" });
  receive("denied", { meeting_id: "k" });
  expect(seen).toEqual([
    "state 4 true",
    "malformed room_state",
    "mute p_1",
    "waiting 1",
    "admitted k",
    "denied k",
  ]);

  void signaling.control({ camera: false, spotlight: null });
  void signaling.moderate({ action: "kick", peer_id: "p_2" });
  expect(sent.map(({ event, payload }) => [event, payload])).toEqual([
    ["control", { camera: false, spotlight: null }],
    ["moderate", { action: "kick", peer_id: "p_2" }],
  ]);
});

test("a join that has to wait is refused with the ticket to come back with", async () => {
  const { signaling, sent } = connected();
  const joining = signaling.join({
    meeting_id: "k",
    user_id: "u",
    name: "u",
    media: { audio: true, video: true },
  });
  sent[0]?.answer({ ok: false, code: "waiting", message: "wait", ticket: "w_1.secret" });
  await expect(joining).rejects.toMatchObject({ code: "waiting", ticket: "w_1.secret" });
});

test("an event that breaks the contract is reported and ignored", () => {
  const { signaling, receive } = connected();
  const seen: string[] = [];
  signaling.on("delta", () => seen.push("delta"));
  signaling.on("malformed", ({ event, error }) => seen.push(`${event}: ${error.message}`));
  receive("update_participants", { since: 1, rev: -2 });
  receive("update_participants", null);
  receive("update_participants", { since: 1, rev: 2 });
  expect(seen).toEqual([
    "update_participants: update.rev: expected a whole number",
    "update_participants: update: expected an object",
    "delta",
  ]);
});

test("comes back when the server has cut the connection, but not after being shut out", async () => {
  const first = connected();
  first.receive("server_draining", { reconnect_after_ms: 900 });
  first.receive("disconnect", "io server disconnect");
  await vi.advanceTimersByTimeAsync(899);
  expect(first.calls).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(first.calls).toEqual(["connect"]);

  const second = connected();
  const lost: boolean[] = [];
  second.signaling.on("lost", ({ final }) => lost.push(final));
  second.receive("closed", { code: "kicked", reason: "", rejoin: false });
  second.receive("disconnect", "io server disconnect");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(second.calls).toEqual([]);
  expect(lost).toEqual([true]);
});
