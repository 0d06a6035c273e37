/** What a browser remembers between visits. Storage may be forbidden: then nothing is remembered. */

const nameKey = "signald.name";
const hostKeysKey = "signald.host-keys";
/** Meetings are short-lived; older keys fit nothing any more. */
const maxHostKeys = 20;

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

function hostKeys(): [string, string][] {
  try {
    const list: unknown = JSON.parse(read(hostKeysKey) ?? "[]");
    if (!Array.isArray(list)) return [];
    return list.filter(
      (entry): entry is [string, string] =>
        Array.isArray(entry) && typeof entry[0] === "string" && typeof entry[1] === "string",
    );
  } catch {
    return [];
  }
}

/** Who created a meeting in this browser is its host whenever he comes back. */
export function rememberHostKey(meetingId: string, hostKey: string): void {
  const others = hostKeys().filter(([id]) => id !== meetingId);
  write(hostKeysKey, JSON.stringify([...others, [meetingId, hostKey]].slice(-maxHostKeys)));
}

export const hostKeyOf = (meetingId: string) => hostKeys().find(([id]) => id === meetingId)?.[1];
