/**
 * Keeps the roster whole: changes are applied in the order of their revisions, and where one is missing the
 * server is asked for the whole list, once, while what comes meanwhile waits.
 */
import { retryAfterOf } from "./errors.ts";
import type { MeetingState, PeerInfo, Roster, RosterDelta } from "./protocol.ts";
import { createRoster, type RosterDiff, type RosterView } from "./roster.ts";

export interface RosterSync {
  get(peerId: string): PeerInfo | undefined;
  /** We are someone new: nobody is known. */
  begin(selfId: string): void;
  /** The list of a join. `offers`: we are the newcomer to those who are new in it. */
  joined(rev: number, peers: PeerInfo[], offers: boolean): void;
  /** What came before it could be understood. */
  takePending(): void;
  takeDelta(delta: RosterDelta): void;
  takeWhole(full: Roster): void;
  /** Something is missing. */
  sync(): Promise<void>;
}

export interface RosterSyncOptions {
  /** In the meeting, with or without a connection at present. */
  member(): boolean;
  /** In the meeting, and the server can be asked. */
  online(): boolean;
  ask(haveRev: number): Promise<Roster>;
  onSelf(change: Partial<Pick<PeerInfo, "role" | "name" | "media">>): void;
  onMeeting(meeting: MeetingState): void;
  onDiff(diff: RosterDiff, offers: boolean): void;
  onError(error: unknown): void;
}

const maxPending = 64;
/** What a gap is asked about again after, if the server does not say. */
const retryMs = 1_000;

export function createRosterSync(options: RosterSyncOptions): RosterSync {
  let selfId = "";
  let roster: RosterView = createRoster(selfId);
  let pending: RosterDelta[] = [];
  let syncing = false;

  function takeDelta(delta: RosterDelta): void {
    const diff = options.member() ? roster.apply(delta) : "gap";
    if (diff === "old") return;
    if (diff === "gap") {
      pending = [...pending, delta].slice(-maxPending);
      void sync();
      return;
    }
    const self = delta.changed.find((change) => change.peer_id === selfId);
    if (self) options.onSelf(self);
    options.onDiff(diff, false);
  }

  function takePending(): void {
    const deltas = pending;
    pending = [];
    for (const delta of deltas) takeDelta(delta);
  }

  async function sync(): Promise<void> {
    if (syncing || !options.online()) return; // a rejoin brings the whole roster
    syncing = true;
    try {
      takeWhole(await options.ask(roster.rev()));
    } catch (error) {
      options.onError(error);
      const wait = retryAfterOf(error);
      await new Promise((resolve) => setTimeout(resolve, wait ?? retryMs));
    } finally {
      syncing = false;
    }
    takePending();
  }

  function takeWhole(full: Roster): void {
    // Without the connection it was asked over it is old: coming back brings a newer one.
    if (!options.online() || full.rev < roster.rev()) return;
    if (full.self) options.onSelf({ role: full.self.role });
    if (full.meeting) options.onMeeting(full.meeting);
    options.onDiff(roster.replace(full.rev, full.peers), false);
  }

  return {
    get: (peerId) => roster.get(peerId),
    begin(id) {
      selfId = id;
      roster = createRoster(id);
    },
    joined: (rev, peers, offers) => options.onDiff(roster.replace(rev, peers), offers),
    takePending,
    takeDelta,
    takeWhole,
    sync,
  };
}
