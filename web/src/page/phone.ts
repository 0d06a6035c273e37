/**
 * Being rung on this page. Who has a token has a connection for it; in a meeting, the meeting's own says that we
 * are busy.
 */
import { type Calls, createCalls, type Incoming, type Outcome } from "../mesh/calls.ts";
import { createEvents } from "../mesh/events.ts";
import { createSignaling, openSocket, type Signaling } from "../mesh/signaling.ts";
import { identity } from "./identity.ts";
import { watchNetwork } from "./network.ts";
import { base } from "./place.ts";

/** `free`: rings. `busy`: answers so by itself. `off`: another connection of this page sees to it. */
export type Presence = "free" | "busy" | "off";

interface Line {
  token: string;
  stopWatching(): void;
  signaling: Signaling;
  calls: Calls;
}

function createPhone() {
  const events = createEvents<{ change: undefined; missed: { call: Incoming; outcome: Outcome } }>();
  const changed = () => events.emit("change", undefined);
  let presence: Presence = "free";
  let line: Line | undefined;
  /** The server takes our token for none. */
  let refused = false;

  const answer = (call: Incoming, how: "accept" | "reject" | "busy") =>
    line?.calls.answer(call.callId, how) ?? Promise.resolve();

  /** Who may not be disturbed says so. */
  function turnAway(): void {
    if (presence === "free") return;
    for (const call of line?.calls.incoming() ?? []) answer(call, "busy").catch(() => {}); // it is over
  }

  function hangUp(): void {
    const old = line;
    line = undefined;
    old?.stopWatching();
    old?.calls.close();
    old?.signaling.close();
  }

  function pickUp(token: string): void {
    const signaling = createSignaling(openSocket(base, token));
    const calls = createCalls(signaling);
    line = { token, signaling, calls, stopWatching: watchNetwork(signaling.check) };
    signaling.on("ready", ({ sub }) => {
      refused = sub === undefined;
      changed();
    });
    calls.on("change", () => {
      turnAway();
      changed();
    });
    calls.on("missed", (missed) => events.emit("missed", missed));
  }

  /** Has the connection that is needed, and no other. */
  function follow(): void {
    const token = presence === "off" ? "" : identity.token();
    if (line?.token === token || (!line && token === "")) return;
    turnAway();
    hangUp();
    refused = false;
    if (token !== "") pickUp(token);
    changed();
  }

  identity.on("change", follow);

  return {
    on: events.on,
    /** Who rings: one at a time is shown. */
    ringing: (): Incoming | undefined => (presence === "free" ? line?.calls.incoming()[0] : undefined),
    answer,
    refused: () => refused,
    be(next: Presence): void {
      presence = next;
      turnAway();
      follow();
    },
  };
}

export const phone = createPhone();
