import type { PeerInfo, RosterDelta } from "./protocol.ts";

export interface RosterDiff {
  joined: PeerInfo[];
  changed: PeerInfo[];
  left: { peer: PeerInfo; reason: string }[];
}

/** Who is in the meeting, as of `rev`. Self is not in it. */
export interface RosterView {
  rev(): number;
  get(peerId: string): PeerInfo | undefined;
  all(): PeerInfo[];
  /** Puts the full list of a join ack or a sync in place of what was known, unless it is older. */
  replace(rev: number, peers: PeerInfo[]): RosterDiff;
  /** "gap" means that changes were missed: ask for the full list. */
  apply(delta: RosterDelta): RosterDiff | "old" | "gap";
}

const nothing = (): RosterDiff => ({ joined: [], changed: [], left: [] });

export function createRoster(selfId: string): RosterView {
  const peers = new Map<string, PeerInfo>();
  let current = 0;

  function upsert(peer: PeerInfo, diff: RosterDiff): void {
    if (peer.peer_id === selfId) return;
    const known = peers.get(peer.peer_id);
    peers.set(peer.peer_id, peer);
    if (!known) diff.joined.push(peer);
    else if (!sameInfo(known, peer)) diff.changed.push(peer);
  }

  function remove(peerId: string, reason: string, diff: RosterDiff): void {
    const peer = peers.get(peerId);
    if (!peer) return;
    peers.delete(peerId);
    diff.left.push({ peer, reason });
  }

  return {
    rev: () => current,
    get: (peerId) => peers.get(peerId),
    all: () => [...peers.values()],

    replace(rev, list) {
      const diff = nothing();
      if (rev < current) return diff;
      current = rev;
      // With another certificate it is another page: it has left and joined again, which we have missed.
      const present = new Map(list.map((peer) => [peer.peer_id, peer.fingerprint]));
      for (const [peerId, { fingerprint }] of [...peers]) {
        if (present.get(peerId) !== fingerprint) remove(peerId, "leave", diff);
      }
      for (const peer of list) upsert(peer, diff);
      return diff;
    },

    apply(delta) {
      if (delta.rev <= current) return "old";
      if (delta.since > current) return "gap";
      const diff = nothing();
      current = delta.rev;
      // Left goes first: a delta is a net effect and names a peer once, but should a server ever name
      // one twice, the person shown is better than the person hidden.
      for (const { peer_id, reason } of delta.left) remove(peer_id, reason, diff);
      for (const peer of delta.joined) upsert(peer, diff);
      for (const change of delta.changed) {
        const known = peers.get(change.peer_id);
        if (known) upsert({ ...known, ...change }, diff);
      }
      return diff;
    },
  };
}

function sameInfo(a: PeerInfo, b: PeerInfo): boolean {
  return (
    a.name === b.name &&
    a.user_id === b.user_id &&
    a.role === b.role &&
    a.state === b.state &&
    a.media.audio === b.media.audio &&
    a.media.video === b.media.video &&
    a.media.screen === b.media.screen &&
    a.media.hand === b.media.hand
  );
}
