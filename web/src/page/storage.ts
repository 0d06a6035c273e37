/** What a browser remembers between visits. Storage may be forbidden: then nothing is remembered. */

const nameKey = "signald.name";
const hostKeysKey = "signald.host-keys";
const admissionsKey = "signald.admissions";
/** Meetings are short-lived; older keys fit nothing any more. */
const maxKept = 20;

export function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Private mode or full: the visit goes on without.
  }
}

export const rememberedName = () => read(nameKey) ?? "";
export const rememberName = (name: string) => write(nameKey, name);

export type DeviceKind = "audio" | "camera" | "speaker";

export const rememberedDevice = (kind: DeviceKind) => read(`signald.device.${kind}`) ?? "";
export const rememberDevice = (kind: DeviceKind, id: string) => write(`signald.device.${kind}`, id);

function pairs(key: string): [string, string][] {
  try {
    const list: unknown = JSON.parse(read(key) ?? "[]");
    if (!Array.isArray(list)) return [];
    return list.filter(
      (entry): entry is [string, string] =>
        Array.isArray(entry) && typeof entry[0] === "string" && typeof entry[1] === "string",
    );
  } catch {
    return [];
  }
}

function rememberPair(key: string, meetingId: string, secret: string): void {
  const others = pairs(key).filter(([id]) => id !== meetingId);
  write(key, JSON.stringify([...others, [meetingId, secret]].slice(-maxKept)));
}

const pairOf = (key: string, meetingId: string) => pairs(key).find(([id]) => id === meetingId)?.[1];

/** Who created a meeting in this browser is its host whenever he comes back. */
export const rememberHostKey = (meetingId: string, hostKey: string) =>
  rememberPair(hostKeysKey, meetingId, hostKey);
export const hostKeyOf = (meetingId: string) => pairOf(hostKeysKey, meetingId);

/** Who was let in once need not wait again. */
export const rememberAdmission = (meetingId: string, token: string) =>
  rememberPair(admissionsKey, meetingId, token);
export const admissionOf = (meetingId: string) => pairOf(admissionsKey, meetingId);

/** What we were in a meeting that keeps its chat: with it we read on, until then. */
export interface Past {
  token: string;
  /** In ms since 1970. */
  until: number;
  /** The last delivery that was read. */
  told: number;
}

const pastsKey = "signald.pasts";

function parsePast(text: string): Past | undefined {
  try {
    const { token, until, told } = JSON.parse(text) as Record<string, unknown>;
    if (typeof token !== "string" || typeof until !== "number" || typeof told !== "number") return undefined;
    return until > Date.now() ? { token, until, told } : undefined;
  } catch {
    return undefined;
  }
}

export function pastOf(meetingId: string): Past | undefined {
  const text = pairOf(pastsKey, meetingId);
  return text === undefined ? undefined : parsePast(text);
}

export const rememberPast = (meetingId: string, past: Past) =>
  rememberPair(pastsKey, meetingId, JSON.stringify(past));

/** Forgets this one, and all whose time is over. */
export function forgetPast(meetingId = ""): void {
  const all = pairs(pastsKey);
  const good = all.filter(([id, text]) => id !== meetingId && parsePast(text));
  if (good.length < all.length) write(pastsKey, JSON.stringify(good));
}

const rungKey = "signald.rung";
const maxRung = 12;

/** Whom one has rung from here, the last first. */
export function rungBefore(): string[] {
  try {
    const list: unknown = JSON.parse(read(rungKey) ?? "[]");
    return Array.isArray(list) ? list.filter((sub) => typeof sub === "string").slice(0, maxRung) : [];
  } catch {
    return [];
  }
}

export const rememberRung = (sub: string) =>
  write(rungKey, JSON.stringify([sub, ...rungBefore().filter((other) => other !== sub)].slice(0, maxRung)));
