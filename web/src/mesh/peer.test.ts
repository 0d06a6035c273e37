import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createPeer, noTracks, type Peer, type Tracks, timing } from "./peer.ts";
import type { SignalBody } from "./protocol.ts";
import { fakeRtcEnvironment, fakeTrack } from "./testing/fake-rtc.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const settle = () => vi.advanceTimersByTimeAsync(0);
const elapse = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** One side, with all it sent. "a" is polite to "b". */
function side(selfId: string, peerId: string, offers: boolean, tracks: Tracks = noTracks, fingerprint = "") {
  const iceServers: RTCIceServer[] = [];
  const rtc = fakeRtcEnvironment();
  const sent: SignalBody[] = [];
  const errors: unknown[] = [];
  const net = { online: true };
  let negs = 0;
  const peer = createPeer({
    selfId,
    peerId,
    offers,
    rtc,
    iceServers: () => iceServers,
    fingerprint,
    nextNeg: () => `${selfId}-${++negs}`,
    send: (body) => sent.push(body),
    online: () => net.online,
    tracks,
    onChange: () => {},
    onError: (error) => errors.push(error),
  });
  return { peer, rtc, sent, errors, net, iceServers };
}

type Side = ReturnType<typeof side>;

/** Carries what each has sent to the other until nothing is left. */
async function exchange(a: Side, b: Side): Promise<void> {
  await settle();
  while (a.sent.length + b.sent.length > 0) {
    const [fromA, fromB] = [a.sent.splice(0), b.sent.splice(0)];
    for (const message of fromA) b.peer.receive(message);
    for (const message of fromB) a.peer.receive(message);
    await settle();
  }
}

async function connectedPair() {
  const a = side("a", "b", true);
  const b = side("b", "a", false);
  await exchange(a, b);
  a.rtc.last().become("connected");
  b.rtc.last().become("connected");
  return { a, b };
}

const kinds = (messages: SignalBody[]) => messages.map((message) => message.kind);
const lines = (peer: Peer) =>
  peer
    .connection()
    .getTransceivers()
    .map((line) => line.receiver.track.kind);
const candidates = (neg: string, ...list: string[]): SignalBody => ({
  kind: "candidates",
  neg,
  end: false,
  list: list.map((candidate) => ({ candidate, sdpMid: "0", sdpMLineIndex: 0, usernameFragment: null })),
});

describe("a first meeting", () => {
  test("the newcomer offers, the other answers, both may send", async () => {
    const a = side("a", "b", true);
    const b = side("b", "a", false, { ...noTracks, camera: fakeTrack("video", "cam") });
    await settle();
    expect(kinds(a.sent)).toEqual(["offer"]);
    expect(kinds(b.sent)).toEqual([]);
    await exchange(a, b);
    expect(a.rtc.last().signalingState).toBe("stable");
    expect(lines(a.peer)).toEqual(["audio", "video"]);
    expect(lines(b.peer)).toEqual(["audio", "video"]);
    const answering = b.peer.connection().getTransceivers();
    expect(answering.map((line) => line.direction)).toEqual(["sendrecv", "sendrecv"]);
    expect(answering[1]?.sender.track?.id).toBe("cam");
    expect([...a.errors, ...b.errors]).toEqual([]);
  });

  test("who waits in vain for an offer makes one", async () => {
    const b = side("b", "a", false);
    await elapse(timing.offerWaitMs - 1);
    expect(b.sent).toEqual([]);
    await elapse(1);
    expect(kinds(b.sent)).toEqual(["offer"]);
  });

  test("first offers that cross: the polite one begins again with the other's", async () => {
    const a = side("a", "b", true);
    const b = side("b", "a", true);
    await exchange(a, b);
    expect(a.rtc.made.length).toBe(2);
    expect(a.rtc.made[0]?.closed).toBe(true);
    expect(b.rtc.made.length).toBe(1);
    expect(a.rtc.last().signalingState).toBe("stable");
    expect(b.rtc.last().signalingState).toBe("stable");
    expect(lines(a.peer)).toEqual(["audio", "video"]);
    expect([...a.errors, ...b.errors]).toEqual([]);
  });

  test("an offer that the network repeats is answered once", async () => {
    const a = side("a", "b", true);
    const b = side("b", "a", false);
    await settle();
    const [offer] = a.sent.splice(0);
    b.peer.receive(offer as SignalBody);
    b.peer.receive(offer as SignalBody);
    await settle();
    expect(kinds(b.sent)).toEqual(["answer"]);
  });
});

describe("glare later on", () => {
  test("two who share their screens at once send on the same line", async () => {
    const { a, b } = await connectedPair();
    a.peer.setTracks({ ...noTracks, screen: fakeTrack("video", "screen-a") });
    b.peer.setTracks({ ...noTracks, screen: fakeTrack("video", "screen-b") });
    await exchange(a, b);
    for (const { peer, rtc } of [a, b]) {
      expect(rtc.made.length).toBe(1);
      expect(rtc.last().signalingState).toBe("stable");
      expect(lines(peer)).toEqual(["audio", "video", "video"]);
    }
    expect(a.peer.connection().getTransceivers()[2]?.sender.track?.id).toBe("screen-a");
    expect(b.peer.connection().getTransceivers()[2]?.sender.track?.id).toBe("screen-b");
  });

  test("candidates of the offer that lost are dropped", async () => {
    const { a, b } = await connectedPair();
    a.rtc.last().restartIce();
    b.rtc.last().restartIce();
    await settle();
    const lost = a.sent[0]?.neg ?? "";
    await exchange(a, b);
    b.peer.receive(candidates(lost, "of the lost offer"));
    await settle();
    expect(b.rtc.last().candidates).toEqual([]);
  });
});

describe("candidates", () => {
  test("found within 50 ms they share a message that names the negotiation", async () => {
    const a = side("a", "b", true);
    await settle();
    const offer = a.sent.splice(0)[0];
    a.rtc.last().find("c1");
    a.rtc.last().find("c2");
    await elapse(timing.batchMs - 1);
    expect(a.sent).toEqual([]);
    await elapse(1);
    expect(a.sent).toMatchObject([{ kind: "candidates", neg: offer?.neg, end: false }]);
    expect((a.sent[0] as { list: unknown[] }).list.length).toBe(2);
  });

  test("a message never carries more than the server takes", async () => {
    const a = side("a", "b", true);
    await settle();
    a.sent.splice(0);
    for (let i = 0; i < 70; i++) a.rtc.last().find(`c${i}`);
    a.rtc.last().find(null);
    expect(a.sent.map((message) => message.kind === "candidates" && message.list.length)).toEqual([
      30, 30, 10,
    ]);
    expect(a.sent.at(-1)).toMatchObject({ end: true });
  });

  test("that come before their offer wait for it", async () => {
    const a = side("a", "b", true);
    const b = side("b", "a", false);
    await settle();
    const offer = a.sent[0] as SignalBody;
    b.peer.receive(candidates(offer.neg, "early"));
    await settle();
    expect(b.rtc.last().candidates).toEqual([]);
    b.peer.receive(offer);
    await settle();
    expect(b.rtc.last().candidates).toEqual(["early"]);
  });

  test("of our open offer wait for the answer", async () => {
    const a = side("a", "b", true);
    const b = side("b", "a", false);
    await settle();
    b.peer.receive(a.sent.splice(0)[0] as SignalBody);
    await settle();
    const answer = b.sent.splice(0)[0] as SignalBody;
    a.peer.receive(candidates(answer.neg, "quick"));
    await settle();
    expect(a.rtc.last().candidates).toEqual([]);
    a.peer.receive(answer);
    await settle();
    expect(a.rtc.last().candidates).toEqual(["quick"]);
  });

  test("of an older negotiation are dropped", async () => {
    const { a, b } = await connectedPair();
    const old = "a-1";
    a.peer.setTracks({ ...noTracks, screen: fakeTrack("video", "s") });
    await exchange(a, b);
    b.peer.receive(candidates(old, "late"));
    await settle();
    expect(b.rtc.last().candidates).toEqual([]);
    b.peer.receive(candidates("a-2", "current"));
    await settle();
    expect(b.rtc.last().candidates).toEqual(["current"]);
  });
});

describe("healing", () => {
  test("failed: ICE restarts at once, and the offer says so", async () => {
    const { a } = await connectedPair();
    a.rtc.last().become("failed");
    await settle();
    expect(a.peer.state()).toBe("reconnecting");
    expect(a.sent).toMatchObject([{ kind: "offer", restart: true }]);
  });

  test("disconnected: ICE restarts after two seconds", async () => {
    const { a } = await connectedPair();
    a.rtc.last().become("disconnected");
    expect(a.peer.state()).toBe("reconnecting");
    await elapse(timing.disconnectedMs - 1);
    expect(a.sent).toEqual([]);
    await elapse(1);
    expect(kinds(a.sent)).toEqual(["offer"]);
  });

  test("disconnected and back within two seconds: nothing is restarted", async () => {
    const { a } = await connectedPair();
    a.rtc.last().become("disconnected");
    await elapse(1_000);
    a.rtc.last().become("connected");
    await elapse(60_000);
    expect(a.sent).toEqual([]);
    expect(a.peer.state()).toBe("connected");
    expect(a.rtc.made.length).toBe(1);
  });

  test("a pair that does not heal in 30 s is rebuilt, three times, then failed", async () => {
    const { a } = await connectedPair();
    a.rtc.last().become("failed");
    await settle();
    for (let rebuilt = 1; rebuilt <= timing.retries; rebuilt++) {
      a.sent.splice(0);
      await elapse(timing.giveUpMs);
      expect(a.rtc.made.length).toBe(1 + rebuilt);
      expect(kinds(a.sent)).toEqual(["bye", "offer"]);
      expect(a.peer.state()).toBe("reconnecting");
    }
    await elapse(timing.giveUpMs);
    expect(a.peer.state()).toBe("failed");
    await elapse(10 * timing.giveUpMs);
    expect(a.rtc.made.length).toBe(1 + timing.retries);
  });

  test("while signaling is down the time does not count", async () => {
    const { a } = await connectedPair();
    a.net.online = false;
    a.rtc.last().become("failed");
    await elapse(10 * timing.giveUpMs);
    expect(a.rtc.made.length).toBe(1);
    a.net.online = true;
    await elapse(timing.giveUpMs);
    expect(a.rtc.made.length).toBe(2);
  });

  test("both give up at the same moment: they meet on one new pair", async () => {
    const { a, b } = await connectedPair();
    a.rtc.last().become("failed");
    b.rtc.last().become("failed");
    await settle();
    a.sent.splice(0);
    b.sent.splice(0); // both restarts are lost
    await elapse(timing.giveUpMs);
    await exchange(a, b);
    expect(a.rtc.last().signalingState).toBe("stable");
    expect(b.rtc.last().signalingState).toBe("stable");
    expect(b.rtc.made.length).toBe(2);
    expect(lines(a.peer)).toEqual(["audio", "video"]);
    expect(lines(b.peer)).toEqual(["audio", "video"]);
    expect([...a.errors, ...b.errors]).toEqual([]);
  });

  test("a pair given up for good comes back when the other side offers", async () => {
    const { a, b } = await connectedPair();
    a.rtc.last().become("failed");
    await elapse((timing.retries + 1) * timing.giveUpMs);
    expect(a.peer.state()).toBe("failed");
    a.sent.splice(0);
    b.rtc.last().become("failed");
    await settle();
    b.sent.splice(0);
    await elapse(timing.giveUpMs);
    await exchange(a, b);
    a.rtc.last().become("connected");
    expect(a.peer.state()).toBe("connected");
  });

  test("closing ends every timer", async () => {
    const { a } = await connectedPair();
    a.rtc.last().become("disconnected");
    a.peer.close();
    await elapse(10 * timing.giveUpMs);
    expect(a.sent).toEqual([]);
    expect(vi.getTimerCount()).toBeLessThanOrEqual(1); // b's own
    expect(a.rtc.last().closed).toBe(true);
  });
});

describe("a certificate that is not the one of the roster", () => {
  const hers = "sha-256 AA:BB";
  const offer = (fingerprint: string, neg = "b-1"): SignalBody => ({
    kind: "offer",
    neg,
    sdp: `x audio,video\r\na=fingerprint:${fingerprint}\r\n`,
    restart: false,
  });

  test("is refused in an offer: no answer, no connection, and nobody tries again", async () => {
    const a = side("a", "b", false, noTracks, hers);
    a.peer.receive(offer("sha-256 EE:EE"));
    await settle();
    expect(a.peer.state()).toBe("refused");
    await elapse(timing.giveUpMs * (timing.retries + 2));
    expect(a.sent).toEqual([]);
    expect(a.peer.state()).toBe("refused");
  });

  test("is refused in an answer", async () => {
    const a = side("a", "b", true, noTracks, hers);
    await settle();
    const [mine] = a.sent.splice(0);
    a.peer.receive({ kind: "answer", neg: mine?.neg ?? "", sdp: "x\r\na=fingerprint:sha-256 EE:EE" });
    await settle();
    expect(a.peer.state()).toBe("refused");
    expect(a.rtc.made[0]?.closed).toBe(true);
  });

  test("does not keep out the one who has the right one", async () => {
    const a = side("a", "b", false, noTracks, hers);
    a.peer.receive(offer("sha-256 EE:EE"));
    await settle();
    a.peer.receive(offer(hers, "b-2"));
    await settle();
    expect(kinds(a.sent)).toEqual(["answer"]);
    a.rtc.last().become("connected");
    expect(a.peer.state()).toBe("connected");
  });

  test("ends a connection that was there", async () => {
    const a = side("a", "b", false, noTracks, hers);
    a.peer.receive(offer(hers));
    await settle();
    a.rtc.last().become("connected");
    const before = a.rtc.last();
    a.peer.receive(offer("sha-256 EE:EE", "b-2"));
    await settle();
    expect([a.peer.state(), before.closed]).toEqual(["refused", true]);
  });
});

describe("mended by the server's advice", () => {
  const policies = (s: Side) =>
    s.rtc.last().configurations.map(({ iceTransportPolicy }) => iceTransportPolicy);

  test("a restart is one of ICE, by who is to offer", async () => {
    const { a, b } = await connectedPair();
    a.peer.mend("restart", false);
    b.peer.mend("restart", true);
    await exchange(a, b);
    expect([a.rtc.last().restarts, b.rtc.last().restarts]).toEqual([0, 1]);
    expect(policies(b)).toEqual(["all"]);
  });

  test("a relay is for both, from now on, and one of them offers", async () => {
    const { a, b } = await connectedPair();
    for (const s of [a, b]) s.iceServers.push({ urls: "stun:s" }, { urls: ["turn:t"], username: "u" });
    a.peer.mend("relay", false);
    b.peer.mend("relay", true);
    await settle();
    expect(b.sent).toMatchObject([{ kind: "offer", restart: true }]);
    await exchange(a, b);
    expect([policies(a), policies(b)]).toEqual([
      ["all", "relay"],
      ["all", "relay"],
    ]);
    expect([a.rtc.last().restarts, b.rtc.last().restarts]).toEqual([0, 1]);
    expect([a.rtc.made.length, b.rtc.made.length]).toEqual([1, 1]);
    a.peer.refreshIce(); // what comes later is relayed, too
    expect(policies(a).at(-1)).toBe("relay");
  });

  test("without a relay the pair is built anew", async () => {
    const { a, b } = await connectedPair();
    a.peer.mend("relay", false);
    b.peer.mend("relay", true);
    await exchange(a, b);
    expect([a.rtc.made.length, b.rtc.made.length]).toEqual([2, 2]);
    expect([a.rtc.last().signalingState, policies(b)]).toEqual(["stable", ["all"]]);
  });

  test("a pair that was given up tries again", async () => {
    const { a } = await connectedPair();
    a.rtc.last().become("failed");
    await elapse((timing.retries + 1) * timing.giveUpMs);
    expect([a.peer.state(), a.peer.pairState()]).toEqual(["failed", "failed"]);
    a.sent.splice(0);
    a.peer.mend("restart", true);
    await settle();
    expect(a.peer.state()).toBe("reconnecting");
    expect(kinds(a.sent)).toEqual(["bye", "offer"]);
  });

  test("its state is told as the connection has it", async () => {
    const { a } = await connectedPair();
    const seen = (["connected", "disconnected", "failed", "connecting", "new", "closed"] as const).map(
      (state) => {
        a.rtc.last().become(state);
        return a.peer.pairState();
      },
    );
    expect(seen).toEqual(["connected", "disconnected", "failed", "connecting", "connecting", "connecting"]);
  });
});
