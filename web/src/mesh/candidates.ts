import type { Candidate } from "./protocol.ts";

/**
 * Decides what becomes of candidates that arrive, by the negotiation they belong to: those of the
 * negotiation in force are taken, those of one not seen yet wait for it, those of an older one are dropped.
 */
export interface CandidateGate {
  /** The candidates to be added now. */
  arrived(neg: string, list: Candidate[]): Candidate[];
  /** `neg` is in force from now on. Returns those that waited for it. */
  enter(neg: string): Candidate[];
  /** `neg` never comes into force: its offer lost against ours. */
  refuse(neg: string): void;
  seen(neg: string): boolean;
}

/** Candidates in one signal of ours; the server takes 32. */
export const maxBatch = 30;

// Bounds for what a confused or hostile peer can make us keep.
const maxWaitingNegs = 8;
const maxWaitingPerNeg = 128;
const maxSeen = 64;

export function createCandidateGate(): CandidateGate {
  const seen = new Set<string>();
  const waiting = new Map<string, Candidate[]>();
  let current: string | undefined;

  function see(neg: string): void {
    seen.delete(neg);
    seen.add(neg);
    if (seen.size > maxSeen) dropOldest(seen);
  }

  return {
    arrived(neg, list) {
      if (neg === current) return list;
      if (seen.has(neg)) return [];
      const kept = waiting.get(neg) ?? [];
      waiting.set(neg, [...kept, ...list].slice(0, maxWaitingPerNeg));
      if (waiting.size > maxWaitingNegs) dropOldest(waiting);
      return [];
    },
    enter(neg) {
      see(neg);
      current = neg;
      const list = waiting.get(neg) ?? [];
      waiting.delete(neg);
      return list;
    },
    refuse(neg) {
      see(neg);
      waiting.delete(neg);
    },
    seen: (neg) => seen.has(neg),
  };
}

function dropOldest(collection: Set<string> | Map<string, unknown>): void {
  const oldest = collection.keys().next();
  if (!oldest.done) collection.delete(oldest.value);
}
