import type { Rtc, RtcEnvironment } from "../rtc.ts";

/**
 * An RTCPeerConnection without network: it keeps the signaling state machine with implicit rollback,
 * media lines and negotiationneeded, and records what it is told. Tests set the connection state.
 */
export interface FakeRtc extends Rtc {
  readonly id: string;
  readonly candidates: string[];
  readonly restarts: number;
  readonly closed: boolean;
  become(state: RTCPeerConnectionState): void;
  find(candidate: string | null): void;
  /** The configurations it was given, in order. */
  readonly configurations: RTCConfiguration[];
}

interface Line {
  kind: string;
  mid: string | null;
  direction: string;
  sender: {
    track: unknown;
    replaceTrack(track: unknown): Promise<void>;
    setStreams(): void;
    getParameters(): { encodings: object[] };
  };
  receiver: { track: { kind: string } };
  stop(): void;
}

let serial = 0;

export function fakeRtc(): FakeRtc {
  const id = `rtc${++serial}`;
  let lines: Line[] = [];
  let local: RTCSessionDescriptionInit | null = null;
  let signalingState: RTCSignalingState = "stable";
  let connectionState: RTCPeerConnectionState = "new";
  let restartWanted = false;
  let restarts = 0;
  let descriptions = 0;
  let checking = false;
  let beforeOffer: (string | null)[] = [];
  const candidates: string[] = [];

  const makeLine = (kind: string, mid: string | null, direction: string): Line => {
    const line: Line = {
      kind,
      mid,
      direction,
      sender: {
        track: null,
        async replaceTrack(track) {
          line.sender.track = track;
        },
        setStreams() {},
        getParameters: () => ({ encodings: [] }),
      },
      receiver: { track: { kind } },
      stop() {
        line.direction = "stopped";
        lines = lines.filter((other) => other !== line || line.mid !== null);
      },
    };
    lines.push(line);
    return line;
  };

  function checkNegotiation(): void {
    if (checking) return;
    checking = true;
    queueMicrotask(() => {
      checking = false;
      if (fake.closed || signalingState !== "stable") return;
      if (restartWanted || lines.some((line) => line.mid === null)) {
        fake.onnegotiationneeded?.call(fake as never, new Event("negotiationneeded"));
      }
    });
  }

  const associate = () => {
    lines.forEach((line, i) => {
      line.mid ??= String(i);
    });
  };
  const text = () => `${id}#${++descriptions} ${lines.map((line) => line.kind).join(",")}`;

  const state = { closed: false };
  const fake = {
    id,
    candidates,
    onnegotiationneeded: null as Rtc["onnegotiationneeded"],
    onicecandidate: null as Rtc["onicecandidate"],
    ondatachannel: null as Rtc["ondatachannel"],
    onconnectionstatechange: null as Rtc["onconnectionstatechange"],
    get closed() {
      return state.closed;
    },
    get restarts() {
      return restarts;
    },
    get signalingState() {
      return signalingState;
    },
    get connectionState() {
      return connectionState;
    },
    get localDescription() {
      return local;
    },
    addTransceiver(kind: string, init: { direction: string }) {
      const line = makeLine(kind, null, init.direction);
      checkNegotiation();
      return line;
    },
    getTransceivers: () => lines,
    createDataChannel: () => ({ readyState: "connecting", onopen: null, onmessage: null, send() {} }),
    async setLocalDescription() {
      await Promise.resolve();
      if (signalingState === "have-remote-offer") {
        local = { type: "answer", sdp: text() };
        signalingState = "stable";
        restartWanted = false;
        checkNegotiation();
        return;
      }
      beforeOffer = lines.map((line) => line.mid);
      associate();
      if (restartWanted) restarts++;
      local = { type: "offer", sdp: text() };
      signalingState = "have-local-offer";
    },
    async setRemoteDescription({ type, sdp }: { type: string; sdp: string }) {
      await Promise.resolve();
      if (type === "answer") {
        if (signalingState !== "have-local-offer") throw new Error(`answer in ${signalingState}`);
        signalingState = "stable";
        restartWanted = false;
        checkNegotiation();
        return;
      }
      if (signalingState === "have-local-offer") {
        lines.forEach((line, i) => {
          line.mid = beforeOffer[i] ?? null; // rollback
        });
      }
      const kinds = (sdp.split(" ")[1] ?? "").split(",").filter((kind) => kind !== "");
      const associated = lines.filter((line) => line.mid !== null).length;
      kinds.slice(associated).forEach((kind, i) => {
        makeLine(kind, String(associated + i), "recvonly");
      });
      signalingState = "have-remote-offer";
    },
    async addIceCandidate(candidate: { candidate: string }) {
      candidates.push(candidate.candidate);
    },
    restartIce() {
      restartWanted = true;
      checkNegotiation();
    },
    configurations: [] as RTCConfiguration[],
    setConfiguration(configuration: RTCConfiguration) {
      fake.configurations.push(configuration);
    },
    async getStats() {
      return new Map();
    },
    close() {
      state.closed = true;
    },
    become(next: RTCPeerConnectionState) {
      connectionState = next;
      fake.onconnectionstatechange?.call(fake as never, new Event("connectionstatechange"));
    },
    find(candidate: string | null) {
      const found = candidate && { candidate, sdpMid: "0", sdpMLineIndex: 0, usernameFragment: "u" };
      fake.onicecandidate?.call(fake as never, { candidate: found } as never);
    },
  };
  return fake as unknown as FakeRtc;
}

/** An environment that remembers every connection made, in order. */
export function fakeRtcEnvironment(): RtcEnvironment & { made: FakeRtc[]; last(): FakeRtc } {
  const made: FakeRtc[] = [];
  return {
    made,
    last() {
      const rtc = made.at(-1);
      if (!rtc) throw new Error("no connection was made");
      return rtc;
    },
    identity: async () => null,
    connection(configuration) {
      const rtc = fakeRtc();
      rtc.configurations.push(configuration);
      made.push(rtc);
      return rtc;
    },
    stream: () => ({}) as MediaStream,
  };
}

export const fakeTrack = (kind: string, id: string) => ({ kind, id, enabled: true }) as MediaStreamTrack;
