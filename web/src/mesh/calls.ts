/**
 * Ringing people, and being rung, over a connection whose handshake says by token who we are. What is over
 * is told once; what rings is a list, for several may ring at a time.
 */
import { codeOf } from "./errors.ts";
import { createEvents, type Events } from "./events.ts";
import type { Invite, InviteState } from "./protocol.ts";
import type { Signaling } from "./signaling.ts";

/** Somebody rings us. */
export interface Incoming {
  callId: string;
  meetingId: string;
  from: { sub: string; name: string };
  /** How long it rings at most, and until when by performance.now(). */
  forMs: number;
  until: number;
}

/** How a call ended: `lost` with our own connection, the others by the word of the server. */
export type Outcome = "accepted" | "rejected" | "busy" | "cancelled" | "no_answer" | "lost";

/** We ring somebody. */
export interface Outgoing {
  id: number;
  sub: string;
  /** `calling` until it rings somewhere; `refused` with the code. */
  state: "calling" | "ringing" | "refused" | Outcome;
  code: string;
}

export interface CallEvents {
  change: undefined;
  /** It rings no longer, and not because we have answered here. */
  missed: { call: Incoming; outcome: Outcome };
  /** What became of a call of ours. */
  outcome: Outgoing;
}

export interface Calls {
  readonly on: Events<CallEvents>["on"];
  /** Who rings us, in the order of ringing. */
  incoming(): readonly Incoming[];
  /** Rejects with `peer_gone` if it is over. It rings here no longer in any case. */
  answer(callId: string, answer: "accept" | "reject" | "busy"): Promise<void>;
  /** Whom we ring and have rung, the last of each; the newest first. */
  outgoing(): readonly Outgoing[];
  /** Rings somebody into the meeting that this connection is in. */
  ring(sub: string): void;
  cancel(id: number): void;
  /** Nothing rings any more. */
  close(): void;
}

const maxShown = 8;
const outcomes: readonly string[] = ["accepted", "rejected", "busy", "cancelled", "no_answer"];
const outcomeOf = (state: string): Outcome => (outcomes.includes(state) ? state : "cancelled") as Outcome;

export function createCalls(
  signaling: Pick<Signaling, "on" | "invite" | "inviteAnswer" | "inviteCancel">,
): Calls {
  const events = createEvents<CallEvents>();
  const changed = () => events.emit("change", undefined);

  // Being rung.

  let incoming: Incoming[] = [];
  const timers = new Map<string, ReturnType<typeof setTimeout>>();

  function hush(callId: string): Incoming | undefined {
    clearTimeout(timers.get(callId));
    timers.delete(callId);
    const call = incoming.find((one) => one.callId === callId);
    if (!call) return undefined;
    incoming = incoming.filter((one) => one !== call);
    changed();
    return call;
  }

  function missed(callId: string, outcome: Outcome): void {
    const call = hush(callId);
    if (call) events.emit("missed", { call, outcome });
  }

  function rung({ call_id, meeting_id, from, expires_in_ms }: Invite): void {
    if (incoming.some(({ callId }) => callId === call_id)) return;
    const until = performance.now() + expires_in_ms;
    incoming = [...incoming, { callId: call_id, meetingId: meeting_id, from, forMs: expires_in_ms, until }];
    // The server says so, too, unless the caller's node has died.
    timers.set(
      call_id,
      setTimeout(() => missed(call_id, "no_answer"), expires_in_ms),
    );
    changed();
  }

  // Ringing.

  interface Ring extends Outgoing {
    callId?: string;
    cancelled?: boolean;
  }
  let rings: Ring[] = [];
  let count = 0;
  /** What became of calls that have no ack yet. */
  let early: InviteState[] = [];

  function set(id: number, next: Partial<Ring>): void {
    rings = rings.map((ring) => (ring.id === id ? { ...ring, ...next } : ring));
    if (!rings.some(({ state }) => state === "calling")) early = [];
    changed();
    const ring = rings.find((one) => one.id === id);
    if (ring && !going(ring)) events.emit("outcome", ring);
  }

  async function place(id: number, sub: string): Promise<void> {
    try {
      const { call_id } = await signaling.invite(sub);
      if (!rings.some((ring) => ring.id === id && ring.state === "calling")) return;
      const over = early.find((state) => state.call_id === call_id);
      set(id, { callId: call_id, state: over ? outcomeOf(over.state) : "ringing" });
      if (rings.find((ring) => ring.id === id)?.cancelled) cancel(id);
    } catch (error) {
      if (rings.some((ring) => ring.id === id && ring.state === "calling"))
        set(id, { state: "refused", code: codeOf(error) });
    }
  }

  function cancel(id: number): void {
    const ring = rings.find((one) => one.id === id);
    if (!ring || !going(ring)) return;
    if (ring.callId === undefined) set(id, { cancelled: true });
    else signaling.inviteCancel(ring.callId).catch(() => {}); // it is over already
  }

  const stops = [
    signaling.on("invite", rung),
    signaling.on("inviteHandled", ({ call_id, state }) => missed(call_id, outcomeOf(state))),
    signaling.on("inviteUpdate", (told) => {
      const ring = rings.find(({ callId }) => callId === told.call_id);
      if (ring && going(ring)) set(ring.id, { state: outcomeOf(told.state) });
      else if (rings.some(({ state }) => state === "calling")) early = [...early, told];
    }),
    signaling.on("lost", () => {
      for (const { callId } of incoming) missed(callId, "lost");
      for (const { id } of rings.filter(going)) set(id, { state: "lost" });
    }),
  ];

  return {
    on: events.on,
    incoming: () => incoming,

    async answer(callId, answer) {
      hush(callId);
      await signaling.inviteAnswer(callId, answer);
    },

    outgoing: () => rings,

    ring(sub) {
      if (rings.some((ring) => ring.sub === sub && going(ring))) return;
      const id = ++count;
      rings = [
        { id, sub, state: "calling" as const, code: "" },
        ...rings.filter((one) => one.sub !== sub),
      ].slice(0, maxShown);
      changed();
      void place(id, sub);
    },

    cancel,

    close() {
      for (const stop of stops) stop();
      for (const timer of timers.values()) clearTimeout(timer);
      timers.clear();
      incoming = [];
      rings = [];
      changed();
    },
  };
}

const going = ({ state }: Outgoing) => state === "calling" || state === "ringing";
