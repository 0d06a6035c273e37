/**
 * Whom one speaks to. Each participant has one DTLS certificate for all its connections, and its
 * fingerprint is in the roster. Media that is set up with another certificate is refused, so whoever
 * relays the signals cannot slip in between. The roster itself comes from the server: that all see the
 * same one is what people compare the safety number for.
 */

/** The fingerprints in an SDP, each once, in the one form that is compared. */
export function fingerprintsIn(sdp: string): string[] {
  const found = [...sdp.matchAll(/^[ \t]*a=fingerprint:[ \t]*(\S+)[ \t]+(\S+)/gim)];
  return [...new Set(found.map(([, algorithm, hex]) => normal(`${algorithm} ${hex}`)))];
}

/** Whether an SDP speaks for the certificate of this fingerprint, and for no other. */
export function speaksFor(sdp: string, fingerprint: string): boolean {
  const found = fingerprintsIn(sdp);
  return found.length === 1 && found[0] === normal(fingerprint);
}

const normal = (fingerprint: string) => {
  const [algorithm = "", hex = ""] = fingerprint.trim().split(/\s+/);
  return `${algorithm.toLowerCase()} ${hex.toUpperCase()}`;
};

/**
 * A server in between shows each side certificates of its own, and may try as many as it likes until both
 * sides' numbers agree: a collision, which takes the root of what a preimage takes. 60 digits are 199 bits,
 * so that is 2^99 tries; with 30 it was 2^50.
 */
const groups = 12;

/**
 * Twelve groups of five digits that are the same for everyone who sees the same participants. Null where
 * someone shows no fingerprint, or where the browser has no digests: it has them over HTTPS only.
 */
export async function safetyNumber(fingerprints: string[]): Promise<string | null> {
  if (fingerprints.some((fingerprint) => fingerprint === "")) return null;
  if (!globalThis.crypto?.subtle) return null;
  const text = ["signald safety number 2", ...fingerprints.map(normal).sort()].join("\n");
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-512", new TextEncoder().encode(text)));
  return Array.from({ length: groups }, (_, group) => {
    const bytes = hash.subarray(group * 5, group * 5 + 5);
    const number = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
    return String(number % 100_000).padStart(5, "0");
  }).join(" ");
}
