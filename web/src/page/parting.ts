/**
 * What a page that goes leaves to the one that is loaded in its place: a reload resumes as the same person.
 * It is taken out again at once. A duplicated tab, which gets a copy of a living page's storage, finds nothing.
 */
export interface Parting {
  key: string;
  name: string;
  token: string;
  /** What was on. */
  audio: boolean;
  video: boolean;
  /** How long the server keeps the seat, at least. */
  until: number;
}

const partingKey = "signald.parting";
/** The server decides; but a tab that is restored tomorrow shall ask before it joins. */
const goodForMs = 60_000;

export function rememberParting(parting: Parting): void {
  try {
    sessionStorage.setItem(partingKey, JSON.stringify({ ...parting, at: Date.now() }));
  } catch {
    // Private mode: the next page begins anew.
  }
}

/** What the page before left to this one, once; null if there is none for this meeting. */
export function takeParting(key: string): Parting | null {
  try {
    const text = sessionStorage.getItem(partingKey);
    sessionStorage.removeItem(partingKey);
    const parting = parse(JSON.parse(text ?? "null"));
    return parting?.key === key ? parting : null;
  } catch {
    return null;
  }
}

function parse(value: unknown): Parting | null {
  if (typeof value !== "object" || value === null) return null;
  const { key, name, token, audio, video, until, at } = value as Record<string, unknown>;
  if (typeof key !== "string" || typeof name !== "string" || typeof token !== "string") return null;
  if (typeof at !== "number" || Math.abs(Date.now() - at) > goodForMs) return null;
  return {
    key,
    name,
    token,
    audio: audio === true,
    video: video === true,
    until: typeof until === "number" ? until : at,
  };
}
