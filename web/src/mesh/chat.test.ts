import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { localError, SignalError } from "./errors.ts";
import { createMesh } from "./mesh.ts";
import type { ChatMessage, ChatPage } from "./protocol.ts";
import { fakeRtcEnvironment } from "./testing/fake-rtc.ts";
import { fakeSignaling } from "./testing/fake-signaling.ts";
import { joinAck } from "./testing/people.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const settle = () => vi.advanceTimersByTimeAsync(0);
const message = (delivery_id: number, rest: Partial<ChatMessage> = {}): ChatMessage => ({
  message_id: `m${delivery_id}`,
  delivery_id,
  client_id: "c",
  from: "a",
  name: "A",
  text: `text ${delivery_id}`,
  at: 1,
  revoked: false,
  ...rest,
});
const page = (ids: number[], rest: Partial<ChatPage> = {}): ChatPage => ({
  messages: ids.map((id) => message(id)),
  updates: [],
  last_delivery_id: ids.at(-1) ?? 0,
  more: false,
  ...rest,
});

/** In a meeting, as of revision 5. */
async function joined() {
  const server = fakeSignaling();
  const mesh = createMesh({
    signaling: server.signaling,
    rtc: fakeRtcEnvironment(),
    api: { ice: async () => ({ ice_servers: [], ice_ttl_s: 0 }) },
  });
  const heard: string[] = [];
  mesh.on("message", ({ text }) => heard.push(text));
  mesh.on("revoked", ({ message_id }) => heard.push(`revoked ${message_id}`));
  mesh.on("typing", ({ from }) => heard.push(`typing ${from}`));
  server.answers.join = () => joinAck("me", 5, []);
  server.answers.chat = ({ client_id }) => ({ message_id: `of ${client_id}`, delivery_id: 9, at: 7 });
  server.up();
  await mesh.join({ meetingId: "key", name: "Me" });
  await settle();
  /** The connection is lost, and back as who we were. */
  const resume = async (rev: number) => {
    server.answers.join = () => joinAck("me", rev, [], { resumed: true });
    server.down();
    server.up();
    await settle();
  };
  return { server, mesh, heard, resume };
}

test("what is said is told, once, with what happens to it", async () => {
  const { server, heard } = await joined();
  server.emit("chat", message(6));
  server.emit("chat", message(6));
  server.emit("typing", { from: "a" });
  server.emit("chatUpdate", { message_id: "m6", delivery_id: 8, revoked: true });
  server.emit("chat", { ...message(9), meeting_id: "another" });
  expect(heard).toEqual(["text 6", "typing a", "revoked m6"]);
  expect(server.chatSyncs).toEqual([]);
});

test("what was said while away is fetched in pages, before what is said since", async () => {
  const { server, heard, resume } = await joined();
  server.emit("chat", message(6));
  server.answers.chatSync = (after) => {
    if (after === 6) {
      server.emit("chat", message(12)); // told while we ask
      return page([7, 10], {
        updates: [{ message_id: "m6", delivery_id: 8, revoked: true }],
        more: true,
      });
    }
    return page([11, 12]);
  };
  server.down();
  server.emit("chat", message(13)); // in the same moment as the answer to the join
  server.answers.join = () => joinAck("me", 11, [], { resumed: true });
  server.up();
  await settle();
  expect(server.chatSyncs).toEqual([6, 10]);
  expect(heard).toEqual(["text 6", "text 7", "revoked m6", "text 10", "text 11", "text 12", "text 13"]);
  server.emit("chat", message(14));
  expect(heard.at(-1)).toBe("text 14");
  await resume(14);
  expect(server.chatSyncs).toEqual([6, 10, 14]);
});

test("nothing overtakes what could not be fetched yet", async () => {
  const { server, heard, resume } = await joined();
  let fails = 1;
  server.answers.chatSync = () =>
    fails-- > 0 ? new SignalError({ code: "unavailable", message: "", retry_after_ms: 300 }) : page([6, 7]);
  await resume(7);
  server.emit("chat", message(8));
  expect(heard).toEqual([]);
  await vi.advanceTimersByTimeAsync(300);
  expect(heard).toEqual(["text 6", "text 7", "text 8"]);
});

test("who comes back as someone new begins with what is said from then on", async () => {
  const { server, heard } = await joined();
  server.emit("chat", message(6));
  server.answers.join = () => joinAck("me2", 3, []); // as after a meeting that was emptied
  server.down();
  server.up();
  await settle();
  server.emit("chat", message(4));
  expect(heard).toEqual(["text 6", "text 4"]);
  expect(server.chatSyncs).toEqual([]);
});

test("who lost its seat reads on where messages are kept, by the token of that seat", async () => {
  const { server, mesh, heard } = await joined();
  const kept = { ...joinAck("me", 5, []).meeting, retention_s: 60 };
  server.answers.join = () => joinAck("me", 6, [], { resumed: true, meeting: kept });
  server.down();
  server.up();
  await settle();
  server.emit("chat", message(7));
  server.answers.join = ({ resume_token, past_token }) =>
    resume_token
      ? new SignalError({ code: "resume_expired", message: "" })
      : joinAck("me2", 12, [], { meeting: kept, past_peer_ids: past_token === "token 6" ? ["me"] : [] });
  server.answers.chatSync = () => page([8, 10]);
  server.down();
  server.up();
  await settle();
  server.emit("chat", message(13));
  expect(server.chatSyncs.at(-1)).toBe(7);
  expect(heard).toEqual(["text 7", "text 8", "text 10", "text 13"]);
  expect([mesh.chat.isSelf("me"), mesh.chat.isSelf("me2"), mesh.chat.isSelf("a")]).toEqual([
    true,
    true,
    false,
  ]);
  expect(mesh.view().pastToken).toBe("token 12");
});

test("who was here on another day finds what was said up to then", async () => {
  const server = fakeSignaling();
  const mesh = createMesh({
    signaling: server.signaling,
    rtc: fakeRtcEnvironment(),
    api: { ice: async () => ({ ice_servers: [], ice_ttl_s: 0 }) },
  });
  server.answers.join = ({ past_token }) =>
    joinAck("me", 9, [], { past_peer_ids: past_token === "of old" ? ["old"] : [] });
  server.answers.chatSync = () => page([6, 7]);
  server.up();
  await mesh.join({ meetingId: "key", name: "Me", pastToken: "of old" });
  expect(mesh.chat.earlier()).toBe(9);
  expect((await mesh.chat.history()).map(({ delivery_id }) => delivery_id)).toEqual([6, 7]);
  expect(mesh.chat.isSelf("old")).toBe(true);
  expect(mesh.view().pastToken).not.toBe(""); // while the meeting goes on
});

test("a message is sent with a name of its own, and is what was stored", async () => {
  const { server, mesh } = await joined();
  const sent = await mesh.chat.send("hello", { to: "a", meta: { n: 1 } });
  const [request] = server.chats;
  expect(request).toEqual({ client_id: expect.any(String), text: "hello", to: "a", meta: { n: 1 } });
  expect(sent).toEqual({
    ...request,
    message_id: `of ${request?.client_id}`,
    delivery_id: 9,
    at: 7,
    from: "me",
    name: "Me",
    revoked: false,
  });
});

test("a message whose answer got lost is said again under the same name, and those behind it wait", async () => {
  const { server, mesh, resume } = await joined();
  const stored = server.answers.chat;
  server.answers.chat = () => localError("disconnected", "lost");
  const sent = [mesh.chat.send("one"), mesh.chat.send("two")];
  await settle();
  expect(server.chats.map(({ text }) => text)).toEqual(["one"]);
  server.answers.chat = stored;
  await resume(6);
  await Promise.all(sent);
  expect(server.chats.map(({ text }) => text)).toEqual(["one", "one", "two"]);
  expect(server.chats[0]?.client_id).toBe(server.chats[1]?.client_id);
  expect(server.chats[2]?.client_id).not.toBe(server.chats[1]?.client_id);
});

test("it waits as long as the server asks for", async () => {
  const { server, mesh } = await joined();
  const stored = server.answers.chat;
  server.answers.chat = () => new SignalError({ code: "rate_limited", message: "", retry_after_ms: 400 });
  const sent = mesh.chat.send("one");
  await vi.advanceTimersByTimeAsync(399);
  expect(server.chats.length).toBe(1);
  server.answers.chat = stored;
  await vi.advanceTimersByTimeAsync(1);
  await sent;
  expect(server.chats.length).toBe(2);
});

test("a refusal is the caller's to show, and holds nothing up", async () => {
  const { server, mesh } = await joined();
  const stored = server.answers.chat;
  server.answers.chat = () => new SignalError({ code: "forbidden", message: "" });
  await expect(mesh.chat.send("one")).rejects.toMatchObject({ code: "forbidden" });
  server.answers.chat = stored;
  await mesh.chat.send("two");
});

test("under a new name nothing is said that may be there already", async () => {
  const { server, mesh } = await joined();
  const stored = server.answers.chat;
  server.answers.chat = () => localError("disconnected", "lost");
  const unsure = mesh.chat.send("one");
  const refused = expect(unsure).rejects.toMatchObject({ code: "disconnected" });
  await settle();
  server.down();
  const waiting = mesh.chat.send("two");
  server.answers.chat = stored;
  server.answers.join = () => joinAck("me2", 8, []);
  server.up();
  await settle();
  await refused;
  await waiting;
  expect(server.chats.map(({ text }) => text)).toEqual(["one", "two"]);
});

test("who leaves is told of what was not said", async () => {
  const { server, mesh } = await joined();
  server.down();
  const sent = expect(mesh.chat.send("one")).rejects.toMatchObject({ code: "disconnected" });
  mesh.leave();
  await sent;
  await expect(mesh.chat.send("two")).rejects.toMatchObject({ code: "disconnected" });
});

test("the history holds everything, our own as well", async () => {
  const { server, mesh } = await joined();
  const asked: [number, boolean][] = [];
  server.answers.chatSync = (after, own) => {
    asked.push([after, own]);
    return after === 0 ? page([6, 7], { more: true }) : page([9]);
  };
  const all = await mesh.chat.history();
  expect(all.map(({ delivery_id }) => delivery_id)).toEqual([6, 7, 9]);
  expect(asked).toEqual([
    [0, true],
    [7, true],
  ]);
});

test("a long history is fetched at the server's pace", async () => {
  const { server, mesh } = await joined();
  let refused = 2;
  server.answers.chatSync = (after) => {
    if (after === 7 && refused-- > 0)
      return new SignalError({ code: "rate_limited", message: "", retry_after_ms: 400 });
    return after === 0 ? page([6, 7], { more: true }) : page([9]);
  };
  const all = mesh.chat.history();
  await vi.advanceTimersByTimeAsync(800);
  expect((await all).map(({ delivery_id }) => delivery_id)).toEqual([6, 7, 9]);
  server.answers.chatSync = () => new SignalError({ code: "forbidden", message: "" });
  await expect(mesh.chat.history()).rejects.toMatchObject({ code: "forbidden" });
});
