import { trimmed, trimmedLink } from "./input.ts";

/** Where the page lives: its base path is the server's to say, by <base href>. */
export const base = new URL("./", document.baseURI).href;

/** The address ends in ?relay: the others shall not learn where we are. */
export const relayOnly = new URLSearchParams(location.search).has("relay");

export function linkOf(key: string): string {
  return new URL(`m/${encodeURIComponent(key)}`, base).href;
}

/** The meeting key in an address of ours, or "". */
export function keyIn(address: string): string {
  if (!address.startsWith(`${base}m/`)) return "";
  const coded = address.slice(base.length + 2).split(/[?#]/)[0] ?? "";
  try {
    return trimmed(decodeURIComponent(coded));
  } catch {
    return "";
  }
}

/** People paste links where keys are asked for. */
export function keyFromInput(text: string): string {
  return keyIn(trimmedLink(text)) || trimmed(text);
}
