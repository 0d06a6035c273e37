import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { localError, SignalError } from "./errors.ts";
import { type Away, createMesh, type MeshEvents } from "./mesh.ts";
import { timing } from "./peer.ts";
import type { ChatMessage, Matrix, PairReport, RosterDelta, SignalIn } from "./protocol.ts";
import { fakeRtcEnvironment } from "./testing/fake-rtc.ts";
import { fakeSignaling } from "./testing/fake-signaling.ts";
import { joinAck, person } from "./testing/people.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const settle = () => vi.advanceTimersByTimeAsync(0);
const refusal = (code: string, retry_after_ms?: number) =>
  new SignalError({ code, message: "", ...(retry_after_ms ? { retry_after_ms } : {}) });
const delta = (since: number, rev: number, rest: Partial<RosterDelta> = {}): RosterDelta => ({
  since,
  rev,
  joined: [],
  changed: [],
  left: [],
  ...rest,
});
const offerFrom = (from: string): SignalIn => ({
  from,
  seq: 1,
  neg: `${from}-1`,
  kind: "offer",
  sdp: "x audio,video",
  restart: false,
});

const message = (delivery_id: number, text: string): ChatMessage => ({
  message_id: `m_${delivery_id}`,
  delivery_id,
  client_id: `c_${delivery_id}`,
  from: "a",
  name: "A",
  text,
  at: 0,
  revoked: false,
});
const muted = { audio: false, video: true, screen: false, hand: null };

function setup(options = {}) {
  const server = fakeSignaling();
  const rtc = fakeRtcEnvironment();
  const iceAsked: string[] = [];
  const mesh = createMesh({
    ...options,
    signaling: server.signaling,
    rtc,
    api: {
      async ice(token) {
        iceAsked.push(token);
        return { ice_servers: [{ urls: ["turn:new"] }], ice_ttl_s: 0 };
      },
    },
  });
  const log: string[] = [];
  const note = <K extends keyof MeshEvents>(name: K, text: (payload: MeshEvents[K]) => string) =>
    mesh.on(name, (payload) => log.push(`${name} ${text(payload)}`));
  note("joined", (peer) => peer.peer_id);
  note("left", ({ peer, reason }) => `${peer.peer_id} ${reason}`);
  note("ended", ({ code }) => code);
  note("trouble", String);
  return { server, rtc, mesh, log, iceAsked };
}

/** In a meeting with "a" and "b", as of revision 5. */
async function joined(rest = {}, options = {}) {
  const t = setup(options);
  t.server.answers.join = () => joinAck("me", 5, [person("a"), person("b")], rest);
  t.server.up();
  await t.mesh.join({ meetingId: "key", name: "Me" });
  await settle();
  return t;
}

const ids = (mesh: { peers(): ReadonlyMap<string, unknown> }) => [...mesh.peers().keys()].sort();

describe("what the host does", () => {
  test("the meeting's state and our own role are followed, by event or by a sync", async () => {
    const { server, mesh } = await joined();
    const { meeting } = joinAck("me", 5, []);
    const locked = { ...meeting, policy: { ...meeting.policy, locked: true }, spotlight: "a" };
    server.emit("state", { ...locked, rev: 6 });
    expect(mesh.view()).toMatchObject({ policy: { locked: true }, meeting: { spotlight: "a" } });
    server.emit("state", { ...meeting, meeting_id: "another", rev: 9 });
    expect(mesh.view().policy?.locked).toBe(true);
    server.emit("delta", delta(5, 6, { changed: [{ peer_id: "me", role: "cohost" }] }));
    expect(mesh.view().role).toBe("cohost");
    server.answers.sync = () => ({ rev: 9, peers: [person("a")], self: person("me"), meeting });
    server.emit("delta", delta(8, 9)); // something is missing
    await settle();
    expect(mesh.view()).toMatchObject({
      role: "guest",
      policy: { locked: false },
      meeting: { spotlight: null },
    });
  });

  test("what is done to us is told", async () => {
    const { server, mesh } = await joined();
    const told: string[] = [];
    mesh.on("moderated", ({ action, peer_id }) => told.push(`${action} ${peer_id}`));
    server.emit("moderated", { action: "mute", peer_id: "me", at: 1 });
    server.emit("moderated", { meeting_id: "another", action: "kick", peer_id: "me", at: 1 });
    expect(told).toEqual(["mute me"]);
  });
});

describe("joining", () => {
  test("the newcomer offers to everyone in the roster", async () => {
    const { server, mesh } = await joined();
    expect(ids(mesh)).toEqual(["a", "b"]);
    expect(server.signals.map(({ to, kind }) => `${kind} ${to}`).sort()).toEqual(["offer a", "offer b"]);
    expect(mesh.view()).toMatchObject({ status: "joined", selfId: "me", meetingName: "a meeting" });
  });

  test("waits for the connection", async () => {
    const { server, mesh } = setup();
    server.answers.join = () => joinAck("me", 1, []);
    const done = mesh.join({ meetingId: "key", name: "Me" });
    await vi.advanceTimersByTimeAsync(5_000);
    expect(server.joins).toEqual([]);
    server.up();
    await done;
    expect(mesh.view().status).toBe("joined");
  });

  test("gives up when no server is there", async () => {
    const { mesh } = setup();
    const done = expect(mesh.join({ meetingId: "key", name: "Me" })).rejects.toMatchObject({
      code: "unreachable",
    });
    await vi.advanceTimersByTimeAsync(15_000);
    await done;
  });

  test("a refusal is the caller's to show", async () => {
    const { server, mesh } = setup();
    server.answers.join = () => refusal("meeting_full");
    server.up();
    await expect(mesh.join({ meetingId: "key", name: "Me" })).rejects.toMatchObject({ code: "meeting_full" });
    expect(server.state.closed).toBe(true);
  });

  test("who joins later is waited for, not offered to", async () => {
    const { server, mesh, log } = await joined();
    server.signals.splice(0);
    server.emit("delta", delta(5, 6, { joined: [person("c")] }));
    await settle();
    expect(ids(mesh)).toEqual(["a", "b", "c"]);
    expect(server.signals).toEqual([]);
    expect(log).toEqual(["joined c"]);
    server.emit("signal", offerFrom("c"));
    await settle();
    expect(server.signals.map(({ to, kind }) => `${kind} ${to}`)).toEqual(["answer c"]);
  });

  test("what arrives before the ack is not lost", async () => {
    const { server, mesh } = setup();
    server.up();
    server.answers.join = () => {
      server.emit("delta", delta(5, 6, { joined: [person("c")] }));
      server.emit("signal", offerFrom("c"));
      return joinAck("me", 5, [person("a")]);
    };
    await mesh.join({ meetingId: "key", name: "Me" });
    await settle();
    expect(ids(mesh)).toEqual(["a", "c"]);
    expect(server.signals.map(({ to, kind }) => `${kind} ${to}`).sort()).toEqual(["answer c", "offer a"]);
  });
});

describe("the roster", () => {
  test("who left is closed and forgotten", async () => {
    const { server, mesh, rtc, log } = await joined();
    server.emit("delta", delta(5, 6, { left: [{ peer_id: "a", reason: "timeout" }] }));
    expect(ids(mesh)).toEqual(["b"]);
    expect(rtc.made[0]?.closed).toBe(true);
    expect(log).toEqual(["left a timeout"]);
  });

  test("a gap that the server does not fill yet is asked about again at its pace", async () => {
    const { server, mesh } = await joined();
    server.answers.sync = () => refusal("rate_limited", 700);
    server.emit("delta", delta(6, 7, { joined: [person("c")] }));
    await settle();
    await vi.advanceTimersByTimeAsync(600);
    expect(server.syncs).toEqual([5]);
    server.answers.sync = () => ({ rev: 7, peers: [person("a"), person("c")] });
    await vi.advanceTimersByTimeAsync(200);
    expect(server.syncs).toEqual([5, 5]);
    expect(ids(mesh)).toEqual(["a", "c"]);
  });

  test("a gap asks for the whole list, once, and applies what came meanwhile", async () => {
    const { server, mesh } = await joined();
    server.answers.sync = () => ({ rev: 7, peers: [person("a"), person("c")] });
    server.emit("delta", delta(6, 7, { joined: [person("c")] }));
    server.emit("delta", delta(7, 8, { joined: [person("d")] }));
    await settle();
    expect(server.syncs).toEqual([5]);
    expect(ids(mesh)).toEqual(["a", "c", "d"]);
  });

  test("a signal of someone unknown asks for the whole list and then counts", async () => {
    const { server, mesh } = await joined();
    server.signals.splice(0);
    server.answers.sync = () => ({ rev: 6, peers: [person("a"), person("b"), person("c")] });
    server.emit("signal", offerFrom("c"));
    await settle();
    expect(ids(mesh)).toEqual(["a", "b", "c"]);
    expect(server.signals.map(({ to, kind }) => `${kind} ${to}`)).toEqual(["answer c"]);
  });

  test("what belongs to another meeting is ignored", async () => {
    const { server, mesh } = await joined();
    server.emit("delta", delta(5, 6, { meeting_id: "other", left: [{ peer_id: "a", reason: "leave" }] }));
    expect(ids(mesh)).toEqual(["a", "b"]);
  });

  test("our own role changes with the roster", async () => {
    const { server, mesh } = await joined();
    server.emit("delta", delta(5, 6, { changed: [{ peer_id: "me", role: "host" }] }));
    expect(mesh.view().role).toBe("host");
  });
});

describe("losing the signaling connection", () => {
  test("keeps every peer connection, and resumes as the same participant", async () => {
    const { server, mesh, rtc, log } = await joined();
    server.down();
    expect(mesh.view().status).toBe("reconnecting");
    await vi.advanceTimersByTimeAsync(20_000);
    expect(rtc.made.some((made) => made.closed)).toBe(false);
    server.answers.join = () => joinAck("me", 8, [person("a"), person("c")], { resumed: true });
    server.signals.splice(0);
    server.up();
    await settle();
    expect(server.joins[1]).toMatchObject({ resume_token: "token 5" });
    expect(mesh.view().status).toBe("joined");
    expect(ids(mesh)).toEqual(["a", "c"]);
    expect(rtc.made.map((made) => made.closed)).toEqual([false, true, false]);
    expect(log).toEqual(["left b leave", "joined c"]);
    // c came while we were away and has offered to us.
    expect(server.signals).toEqual([]);
  });

  test("the rotated token is used the next time", async () => {
    const { server } = await joined();
    server.answers.join = () => joinAck("me", 6, [], { resumed: true });
    for (let i = 0; i < 2; i++) {
      server.down();
      server.up();
      await settle();
    }
    expect(server.joins.map((join) => join.resume_token)).toEqual([undefined, "token 5", "token 6"]);
  });

  test("signals made meanwhile are sent afterwards, in order", async () => {
    const { server, rtc } = await joined();
    server.down();
    server.signals.splice(0);
    const [toA] = rtc.made;
    toA?.find("c1");
    await vi.advanceTimersByTimeAsync(timing.batchMs);
    toA?.find("c2");
    await vi.advanceTimersByTimeAsync(timing.batchMs);
    expect(server.signals).toEqual([]);
    server.answers.join = () => joinAck("me", 5, [person("a"), person("b")], { resumed: true });
    server.up();
    await settle();
    const list = server.signals.flatMap((signal) => (signal.kind === "candidates" ? signal.list : []));
    expect(list.map(({ candidate }) => candidate)).toEqual(["c1", "c2"]);
  });

  test("a seat that has expired is taken anew, with new connections", async () => {
    const { server, mesh, rtc } = await joined();
    server.down();
    server.answers.join = ({ resume_token }) =>
      resume_token ? refusal("resume_expired") : joinAck("me2", 9, [person("a")]);
    server.signals.splice(0);
    server.up();
    await settle();
    expect(mesh.view()).toMatchObject({ status: "joined", selfId: "me2" });
    expect(rtc.made.map((made) => made.closed)).toEqual([true, true, false]);
    expect(server.signals.map(({ to, kind }) => `${kind} ${to}`)).toEqual(["offer a"]);
  });

  test("a server that cannot yet is asked again when it says, within half as much again", async () => {
    const { server, mesh } = await joined();
    server.down();
    server.answers.join = () => refusal("unavailable", 3_000);
    server.up();
    await settle();
    server.answers.join = () => joinAck("me", 5, [person("a"), person("b")], { resumed: true });
    await vi.advanceTimersByTimeAsync(2_999);
    expect(mesh.view().status).toBe("reconnecting");
    await vi.advanceTimersByTimeAsync(1_501);
    expect(mesh.view().status).toBe("joined");
  });

  test("a server that has lost us, while the connection holds, is joined again", async () => {
    const { server, rtc, mesh } = await joined();
    server.answers.signal = () => refusal("not_joined");
    server.answers.join = () => joinAck("me", 6, [person("a"), person("b")], { resumed: true });
    rtc.made[0]?.find("c1");
    await vi.advanceTimersByTimeAsync(timing.batchMs);
    expect(server.joins.length).toBe(2);
    expect(mesh.view().status).toBe("joined");
    expect(rtc.made.map((made) => made.closed)).toEqual([false, false]);
  });

  test("a meeting that is over ends the participation", async () => {
    const { server, mesh, rtc, log } = await joined();
    server.down();
    server.answers.join = () => refusal("meeting_not_found");
    server.up();
    await settle();
    expect(mesh.view().status).toBe("ended");
    expect(log).toEqual(["ended meeting_not_found"]);
    expect(rtc.made.every((made) => made.closed)).toBe(true);
  });
});

describe("leaving", () => {
  test("tells the server, closes all, and names the seat for a beacon", async () => {
    const { server, mesh, rtc } = await joined();
    expect(mesh.leave()).toEqual({ peer_id: "me", resume_token: "token 5" });
    expect(server.state).toMatchObject({ left: 1, closed: true });
    expect(rtc.made.every((made) => made.closed)).toBe(true);
    expect(mesh.view()).toMatchObject({ status: "ended", peers: [] });
    expect(mesh.leave()).toBeNull();
    expect(vi.getTimerCount()).toBe(0);
  });

  test("a page that goes keeps its seat for the next, which takes it as someone who has just come", async () => {
    const before = await joined();
    expect(before.mesh.quit()).toEqual({
      seat: { peer_id: "me", resume_token: "token 5" },
      withinMs: 30_000,
    });
    expect(before.server.state).toMatchObject({ left: 0, parted: 1, closed: false, dropped: true });
    expect(before.rtc.made.every((made) => made.closed)).toBe(true);
    expect(before.mesh.leave()).toBeNull();
    expect(vi.getTimerCount()).toBe(0);

    const { server, mesh } = setup();
    server.answers.join = () => joinAck("me", 7, [person("a")], { resumed: true, role: "host" });
    server.up();
    await mesh.join({ meetingId: "key", name: "Me", resumeToken: "token 5" });
    await settle();
    expect(server.joins[0]).toMatchObject({ resume_token: "token 5", fresh: true });
    expect(mesh.view()).toMatchObject({ selfId: "me", role: "host" });
    expect(server.signals.map(({ to, kind }) => `${kind} to ${to}`)).toContain("offer to a");

    server.answers.join = () => joinAck("me", 9, [person("a")], { resumed: true });
    server.down(); // later it comes back as one that is still here
    server.up();
    await settle();
    expect(server.joins[1]).not.toHaveProperty("fresh");
  });

  test("who waits no longer names the place in the lobby for a beacon", async () => {
    const { server, mesh } = setup();
    server.answers.join = () => new SignalError({ code: "waiting", message: "", ticket: "w_1.x" });
    server.up();
    mesh.join({ meetingId: "key", name: "Me" }).catch(() => {});
    await settle();
    expect(mesh.view().status).toBe("waiting");
    expect(mesh.leave()).toEqual({ meeting_id: "key", ticket: "w_1.x" });
    expect(server.state.closed).toBe(true);
  });

  test("being removed by the host says so", async () => {
    const { server, mesh, log } = await joined();
    server.emit("closed", { code: "kicked", reason: "", rejoin: false });
    expect(mesh.view().status).toBe("ended");
    expect(log).toEqual(["ended kicked"]);
  });
});

test("ICE servers are renewed before they expire", async () => {
  const { iceAsked } = await joined({ ice_ttl_s: 100 });
  await vi.advanceTimersByTimeAsync(79_000);
  expect(iceAsked).toEqual([]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(iceAsked).toEqual(["token 5"]);
});

test("who is hidden stays so with new ICE servers", async () => {
  const { rtc } = await joined({ ice_ttl_s: 100 }, { relayOnly: true });
  expect(rtc.last().configurations).toMatchObject([{ iceServers: [], iceTransportPolicy: "relay" }]);
  await vi.advanceTimersByTimeAsync(80_000);
  expect(rtc.last().configurations.at(-1)).toMatchObject({
    iceServers: [{ urls: ["turn:new"] }],
    iceTransportPolicy: "relay",
  });
});

test("a signal that is refused for its rate is sent again", async () => {
  const { server, rtc } = await joined();
  server.signals.splice(0);
  server.answers.signal = () => refusal("rate_limited", 700);
  rtc.made[0]?.find("c1");
  await vi.advanceTimersByTimeAsync(timing.batchMs);
  server.answers.signal = () => undefined;
  await vi.advanceTimersByTimeAsync(700);
  expect(server.signals.map(({ kind }) => kind)).toEqual(["candidates"]);
});

describe("certificates", () => {
  const certificate = {} as RTCCertificate;
  const hers = (peer_id: string, fingerprint: string) => ({ ...person(peer_id), fingerprint });

  async function entered(peers: ReturnType<typeof hers>[]) {
    const { mesh, server, rtc } = setup();
    rtc.identity = async () => ({ certificate, fingerprint: "sha-256 AA" });
    server.up();
    server.answers.join = () => joinAck("me", 1, peers);
    await mesh.join({ meetingId: "k", name: "Ada" });
    // The digest is made outside of the fake clock.
    await vi.waitFor(() => expect(mesh.view().status).toBe("joined"));
    return { mesh, server, rtc };
  }

  test("one for all connections, said in the join", async () => {
    const { server, rtc } = await entered([hers("p1", "sha-256 B1"), hers("p2", "sha-256 B2")]);
    expect(server.joins[0]).toMatchObject({ fingerprint: "sha-256 AA" });
    expect(rtc.made.map(({ configurations }) => configurations[0]?.certificates)).toEqual([
      [certificate],
      [certificate],
    ]);
  });

  test("the safety number follows who is there", async () => {
    const { mesh, server } = await entered([hers("p1", "sha-256 B1")]);
    await vi.waitFor(() => expect(mesh.view().safetyNumber).toMatch(/^(\d{5} ?){12}$/));
    const before = mesh.view().safetyNumber;
    server.emit("delta", delta(1, 2, { joined: [hers("p2", "sha-256 B2")] }));
    await vi.waitFor(() => expect(mesh.view().safetyNumber).not.toBe(before));
    server.emit("delta", delta(2, 3, { joined: [hers("p3", "")] }));
    await vi.waitFor(() => expect(mesh.view().safetyNumber).toBeNull());
    expect(mesh.view().peers.map(({ trust }) => trust)).toEqual(["verified", "verified", "unverified"]);
  });

  test("a roster that changes someone's certificate is not believed", async () => {
    const { mesh, server } = await entered([hers("p1", "sha-256 B1")]);
    server.emit("delta", delta(1, 2, { joined: [hers("p1", "sha-256 EE")] }));
    expect(mesh.view().peers[0]?.trust).toBe("refused");
    expect(mesh.peers().get("p1")?.fingerprint).toBe("sha-256 B1");
  });
});

test("our own name and hand are what the server says of us", async () => {
  const { mesh, server } = setup();
  server.up();
  server.answers.join = () => joinAck("me", 1, []);
  await mesh.join({ meetingId: "k", name: "Ada" });
  expect(mesh.view()).toMatchObject({ name: "Ada", hand: null });
  const media = { audio: true, video: true, screen: false, hand: 17 };
  server.emit("delta", delta(1, 2, { changed: [{ peer_id: "me", name: "Countess", media }] }));
  expect(mesh.view()).toMatchObject({ name: "Countess", hand: 17 });
});

describe("who hears whom", () => {
  /** All offers are answered. */
  async function answer(server: ReturnType<typeof fakeSignaling>) {
    for (const { to, neg } of server.signals.splice(0)) {
      server.emit("signal", { from: to, seq: ++seq, neg, kind: "answer", sdp: "x audio,video" });
    }
    await settle();
  }

  let seq = 0;

  /** In a meeting whose server wants to know, connected to both. */
  async function reporting(features = ["chat", "mesh_report"]) {
    const t = setup();
    t.server.state.features = features;
    t.server.answers.join = () => joinAck("me", 5, [person("a"), person("b")], { role: "host" });
    t.server.up();
    await t.mesh.join({ meetingId: "key", name: "Me" });
    await settle();
    await answer(t.server);
    for (const connection of t.rtc.made) connection.become("connected");
    await vi.advanceTimersByTimeAsync(2_000);
    return t;
  }
  const told = (reports: PairReport[][]) =>
    reports.map((pairs) =>
      pairs.map(({ peer_id, state, hears }) => `${peer_id} ${state}${hears ? "" : "!"}`).join(", "),
    );

  test("the server is told when it changes, every 5 s while it is bad, and seldom when all is well", async () => {
    const { server, rtc } = await reporting();
    expect(told(server.reports)).toEqual(["a connected, b connected"]);
    server.emit("delta", delta(5, 6, { changed: [{ peer_id: "b", media: muted }] }));
    rtc.made[0]?.become("failed");
    await vi.advanceTimersByTimeAsync(12_000);
    const bad = told(server.reports).slice(1);
    expect(bad.length).toBeGreaterThanOrEqual(2);
    expect(bad.length).toBeLessThanOrEqual(4);
    expect(new Set(bad)).toEqual(new Set(["a failed!, b connected"]));
    await answer(server);
    rtc.made[0]?.become("connected");
    server.emit("delta", delta(6, 7, { changed: [{ peer_id: "a", media: muted }] }));
    await vi.advanceTimersByTimeAsync(4_000);
    expect(told(server.reports).at(-1)).toBe("a connected, b connected");
    const before = server.reports.length;
    await vi.advanceTimersByTimeAsync(64_000);
    expect(server.reports.length - before).toBe(2);
  });

  test("who is said to speak and brings nothing is not heard", async () => {
    const { server } = await reporting();
    server.emit("delta", delta(5, 6, { changed: [{ peer_id: "a", media: muted }] }));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(told(server.reports).at(-1)).toBe("a connected, b connected!");
  });

  test("a server that does not ask is told nothing, and a server that is back is told anew", async () => {
    const mute = await reporting(["chat"]);
    expect(mute.server.reports).toEqual([]);
    const { server } = await reporting();
    server.down();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(server.reports.length).toBe(1);
    server.answers.join = () => joinAck("me", 5, [person("a"), person("b")], { resumed: true });
    server.up();
    await vi.advanceTimersByTimeAsync(4_000);
    expect(server.reports.length).toBeGreaterThan(1);
  });

  test("who is asked to mend a connection does, and no other", async () => {
    const { server, rtc } = await reporting();
    server.emit("advice", { peer_id: "b", action: "restart", offer: true });
    server.emit("advice", { meeting_id: "another", peer_id: "a", action: "restart", offer: true });
    server.emit("advice", { peer_id: "nobody", action: "relay", offer: true });
    await settle();
    expect(rtc.made.map(({ restarts }) => restarts)).toEqual([0, 1]);
  });

  test("who leads sees all of it, for as long as it leads", async () => {
    const { server, mesh } = await reporting();
    expect(mesh.view().matrix).toBeNull();
    const matrix: Matrix = {
      members: ["me", "a"],
      rows: [
        ["self", "hears"],
        ["nothing", "self"],
      ],
      broken: [],
    };
    server.emit("matrix", { ...matrix, meeting_id: "another" });
    expect(mesh.view().matrix).toBeNull();
    server.emit("matrix", matrix);
    expect(mesh.view().matrix).toEqual(matrix);
    server.emit("delta", delta(5, 6, { changed: [{ peer_id: "me", role: "guest" }] }));
    expect(mesh.view().matrix).toBeNull();
  });
});

test("a signal that the server sends again is handled once", async () => {
  const { mesh, server, rtc } = setup();
  server.answers.join = () => joinAck("me", 5, [person("a")]);
  server.up();
  await mesh.join({ meetingId: "key", name: "Me" });
  await settle();
  const before = rtc.made.length;
  const bye = (at: number) => server.emit("signal", { from: "a", seq: at, neg: `a-${at}`, kind: "bye" });
  bye(1);
  await settle();
  const once = rtc.made.length;
  bye(1);
  bye(1);
  await settle();
  expect(rtc.made.length).toBe(once);
  bye(2);
  await settle();
  expect(rtc.made.length - once).toBe(once - before);
});

test("a listener that throws is reported, and harms nothing else", async () => {
  const reported: unknown[] = [];
  vi.stubGlobal("reportError", (error: unknown) => reported.push(error));
  const { mesh, server } = setup();
  let heard = 0;
  mesh.on("change", () => {
    throw new Error("a bug in the embedder's drawing");
  });
  mesh.on("change", () => heard++);
  server.answers.join = () => joinAck("me", 5, [person("a"), person("b")]);
  server.up();
  await mesh.join({ meetingId: "key", name: "Me" });
  expect(mesh.view().status).toBe("joined");
  expect([...mesh.peers().keys()]).toEqual(["a", "b"]);
  expect(heard).toBeGreaterThan(0);
  expect(reported.length).toBeGreaterThan(0);
  vi.unstubAllGlobals();
});

test("a connection that cannot be made costs its own participant, and no other", async () => {
  const { mesh, server, rtc } = setup();
  const make = rtc.connection.bind(rtc);
  vi.spyOn(rtc, "connection").mockImplementation((configuration) => {
    if (rtc.made.length === 1) {
      rtc.made.push({} as never);
      throw new Error("too many connections");
    }
    return make(configuration);
  });
  const troubles: unknown[] = [];
  mesh.on("trouble", (error) => troubles.push(error));
  server.answers.join = () => joinAck("me", 5, [person("a"), person("b"), person("c")]);
  server.up();
  await mesh.join({ meetingId: "key", name: "Me" });
  expect(mesh.view().status).toBe("joined");
  expect([...mesh.peers().keys()]).toEqual(["a", "c"]);
  expect(troubles.length).toBe(1);
});

test("who has the original client is there, and no connection to it is tried", async () => {
  const { mesh, server, rtc } = setup();
  server.answers.join = () => joinAck("me", 5, [{ ...person("old"), protocol: 1 }, person("a")]);
  server.up();
  await mesh.join({ meetingId: "key", name: "Me" });
  await settle();
  expect(rtc.made.length).toBe(1);
  expect(mesh.view().peers.map(({ info, state }) => [info.peer_id, state])).toEqual([
    ["old", "apart"],
    ["a", "connecting"],
  ]);
  server.emit("delta", delta(5, 6, { joined: [{ ...person("older"), protocol: 1 }] }));
  server.emit("delta", delta(6, 7, { left: [{ peer_id: "old", reason: "leave" }] }));
  expect(mesh.view().peers.map(({ info }) => info.peer_id)).toEqual(["a", "older"]);
  expect(server.signals.every(({ to }) => to === "a")).toBe(true);
});

test("a second mesh that asks by the attempt of the first says that it has connections to nobody", async () => {
  const first = setup();
  first.server.up();
  const attempt = { secret: "a".repeat(22), asked: false };
  first.server.answers.join = () => joinAck("me", 5, []);
  await first.mesh.join({ meetingId: "key", name: "Me", attempt });
  expect(first.server.joins[0]).toMatchObject({ attempt: attempt.secret });
  expect(first.server.joins[0]).not.toHaveProperty("fresh");
  const second = setup();
  second.server.up();
  second.server.answers.join = () => joinAck("me", 7, [], { resumed: true });
  await second.mesh.join({ meetingId: "key", name: "Me", attempt: { ...attempt, asked: true } });
  expect(second.server.joins[0]).toMatchObject({ attempt: attempt.secret, fresh: true });
});

test("who was out for longer than the seat was kept is told so, and reads on", async () => {
  const { mesh, server } = setup();
  const absences: Away[] = [];
  mesh.on("away", (away) => absences.push(away));
  const said: string[] = [];
  mesh.on("message", ({ text }) => said.push(text));
  server.answers.join = () => joinAck("me", 5, [person("a")]);
  server.up();
  await mesh.join({ meetingId: "key", name: "Me" });
  server.emit("chat", message(7, "before"));

  const from = Date.now();
  server.down();
  await vi.advanceTimersByTimeAsync(1_000);
  server.answers.join = () => joinAck("me", 8, [person("a")], { resumed: true });
  server.up();
  await settle();
  expect(absences).toEqual([]); // the seat was kept

  server.emit("lost", { final: false, since: from });
  await vi.advanceTimersByTimeAsync(60_000);
  const expired = new SignalError({ code: "resume_expired", message: "" });
  server.answers.join = ({ resume_token }) =>
    resume_token ? expired : joinAck("me again", 20, [person("a")], { past_peer_ids: ["me"] });
  server.answers.chatSync = (after) => ({
    messages: after < 12 ? [message(12, "meanwhile")] : [],
    updates: [],
    last_delivery_id: 12,
    more: false,
  });
  server.up();
  await settle();
  expect(absences).toEqual([{ from, until: Date.now(), readsOn: true }]);
  expect(said).toEqual(["before", "meanwhile"]);
  expect(server.joins.at(-1)).toMatchObject({ past_token: "token 8" });
});

test("why one does not get back in is seen, though the connection stands", async () => {
  const { mesh, server } = setup();
  server.answers.join = () => joinAck("me", 5, []);
  server.up();
  await mesh.join({ meetingId: "key", name: "Me" });
  server.down();
  server.answers.join = () => new SignalError({ code: "unavailable", message: "", retry_after_ms: 2_000 });
  server.up();
  await settle();
  expect(mesh.view()).toMatchObject({ status: "reconnecting", refusal: "unavailable" });
  server.answers.join = () => joinAck("me", 6, [], { resumed: true });
  await vi.advanceTimersByTimeAsync(3_000);
  expect(mesh.view()).toMatchObject({ status: "joined", refusal: "" });
});

test("a refused connection is seen while one joins for the first time, too", async () => {
  const { mesh, server } = setup();
  const joining = mesh.join({ meetingId: "key", name: "Me" }).catch((error) => error.code);
  await settle();
  server.emit("refused", { code: "too_many_from_ip", retryAfterMs: 5_000, deliberate: true });
  expect(mesh.view()).toMatchObject({ status: "joining", refusal: "too_many_from_ip" });
  await vi.advanceTimersByTimeAsync(15_000);
  expect(await joining).toBe("too_many_from_ip");
});

test("who thinks better of waiting in the lobby is out at once", async () => {
  const { mesh, server } = setup();
  server.answers.join = () => new SignalError({ code: "waiting", message: "", ticket: "t" });
  server.up();
  const joining = mesh.join({ meetingId: "key", name: "Me" }).catch((error) => error.code);
  await settle();
  expect(mesh.view().status).toBe("waiting");
  vi.spyOn(server.signaling, "close").mockImplementation(() =>
    server.emit("lost", { final: true, since: 0 }),
  );
  expect(mesh.leave()).toEqual({ meeting_id: "key", ticket: "t" });
  expect(await joining).toBe("disconnected");
});

test("a join whose answer is lost is asked for again by the same attempt", async () => {
  const { mesh, server } = setup();
  let asks = 0;
  server.answers.join = () =>
    asks++ < 2 ? localError("disconnected", "the connection was lost") : joinAck("me", 5, [person("a")]);
  server.up();
  await mesh.join({ meetingId: "key", name: "Me" });
  const attempts = server.joins.map(({ attempt }) => attempt);
  expect(attempts.length).toBe(3);
  expect(new Set(attempts).size).toBe(1);
  expect(attempts[0]).toMatch(/^[\w-]{22}$/);
});

test("a host's request whose answer is lost is sent again under the same name", async () => {
  const { mesh, server } = setup();
  server.state.features = ["asked_again"];
  server.answers.join = () => joinAck("me", 5, [person("a")], { role: "host" });
  server.up();
  await mesh.join({ meetingId: "key", name: "Me" });
  const send = vi
    .spyOn(server.signaling, "moderate")
    .mockRejectedValueOnce(localError("timeout", "no answer"));
  await mesh.moderate({ action: "mute", peer_id: "a" });
  const names = send.mock.calls.map(([request]) => request.request_id);
  expect(names.length).toBe(2);
  expect(names[0]).toBeTruthy();
  expect(names[1]).toBe(names[0]);
});

test("what the server's refusal is, is seen while it lasts", async () => {
  const { mesh, server } = setup();
  server.answers.join = () => joinAck("me", 5, [person("a")]);
  server.up();
  await mesh.join({ meetingId: "key", name: "Me" });
  server.emit("lost", { final: false, since: 0 });
  server.emit("refused", { code: "too_many_from_ip", retryAfterMs: 5_000, deliberate: true });
  expect(mesh.view()).toMatchObject({ status: "reconnecting", refusal: "too_many_from_ip" });
  server.up();
  await settle();
  expect(mesh.view()).toMatchObject({ status: "joined", refusal: "" });
});
