/**
 * Whether we hear somebody: sound comes, or there is none to come. Only sound counts: a picture that nobody looks at,
 * or that the uplink has no room for, is not sent.
 */

/** A microphone that was just switched on, or a connection that was just made, has so long to be heard. */
export const patienceMs = 5_000;

export interface Hearing {
  /** `soundIn`: sound has come of late; null: not known. */
  judge(expected: boolean, soundIn: boolean | null, now: number): boolean;
}

export function createHearing(): Hearing {
  let silentSince: number | undefined;
  return {
    judge(expected, soundIn, now) {
      if (!expected || soundIn !== false) silentSince = undefined;
      else silentSince ??= now;
      return silentSince === undefined || now - silentSince < patienceMs;
    },
  };
}
