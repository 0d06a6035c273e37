/** What is seen of a meeting under way, as plain data: its state, and what happens in it. */
import type { Sending } from "./files.ts";
import type { PeerState, Tracks } from "./peer.ts";
import type {
  ChatMessage,
  ChatUpdate,
  Matrix,
  MeetingState,
  Moderated,
  PeerInfo,
  Policy,
  Typing,
  Waiter,
} from "./protocol.ts";
import type { Quality } from "./quality.ts";

/** `waiting`: in the lobby. `reconnecting`: no signaling at present; media flows on. */
export type MeshStatus = "idle" | "joining" | "waiting" | "joined" | "reconnecting" | "ended";

export interface PeerView {
  info: PeerInfo;
  state: PeerState;
  tracks: Tracks;
  speaking: boolean;
  quality: Quality;
  /**
   * `verified`: it has the certificate of the roster, and no other was let in. `unverified`: it shows none.
   * `refused`: it came with another certificate, or the roster has changed its mind.
   */
  trust: "verified" | "unverified" | "refused";
}

export interface MeshView {
  status: MeshStatus;
  /** Why we are not let in, or back in, for now, while it is tried again: a code; "" if nothing is known. */
  refusal: string;
  selfId: string;
  /** As the others see us. */
  name: string;
  hand: number | null;
  role: PeerInfo["role"];
  meetingName: string;
  policy: Policy | null;
  /** All that the host can change, the policy too. */
  meeting: MeetingState | null;
  peers: PeerView[];
  /** Who waits to be let in, if we lead. */
  waiting: Waiter[];
  /** Who hears whom, if we lead and the server knows. */
  matrix: Matrix | null;
  /** Spares the lobby when we join this meeting another time; "" if it has none for us. */
  admissionToken: string;
  /** Shown when we join this meeting another time, it lets us read on in the chat; "" if none is kept. */
  pastToken: string;
  /** To be compared by word of mouth: the same for all who see the same certificates. Null if there is none. */
  safetyNumber: string | null;
}

/** An absence. Times are in ms since 1970. */
export interface Away {
  from: number;
  until: number;
  /** What was said meanwhile is told to us. */
  readsOn: boolean;
}

export interface MeshEvents {
  /** view() has changed. */
  change: undefined;
  joined: PeerInfo;
  left: { peer: PeerInfo; reason: string };
  /** Someone else has said something, to all or to us. */
  message: ChatMessage;
  /** A message was taken back. */
  revoked: ChatUpdate;
  typing: Typing;
  /** Somebody is fetching a file that we share. */
  sending: Sending;
  /** A host has done something to us or, if we lead, to anybody. What is switched off so, we obey. */
  moderated: Moderated;
  /** We were out for longer than our seat was kept, and are back in another one. */
  away: Away;
  /** Out of the meeting, not by our own wish. */
  ended: { code: string };
  /** Nothing the user can act on; for the console. */
  trouble: unknown;
}
