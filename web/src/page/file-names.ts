/** Names of files, which others choose: for the eye and for the disk. */

/** What cannot be seen and turns text around: with it `exe.txt` may end in something else. Two join letters. */
const unseen = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
/** Names that Windows keeps for devices, whatever stands behind the dot. */
const reserved = /^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$/i;
const mostBytes = 180;

/** A name that is safe to show and to save under: one part of a path, without tricks, of a length that disks take. */
export function safeName(name: string): string {
  const [last = ""] = name
    .replace(/\p{Surrogate}/gu, "\ufffd")
    .split(/[\\/]/)
    .slice(-1);
  const plain = last
    .replace(unseen, "")
    .replace(/[<>:"|?*]/g, "_")
    .replace(/^[\s.]+|[\s.]+$/g, "");
  const short = clip(plain);
  if (short === "") return "file";
  return reserved.test(short) ? `_${short}` : short;
}

/** Long names lose of their middle: the ending says what it is. */
function clip(name: string): string {
  const { length } = new TextEncoder().encode(name);
  if (length <= mostBytes) return name;
  const dot = name.lastIndexOf(".");
  const ending = dot > 0 && name.length - dot <= 12 ? name.slice(dot) : "";
  const letters = [...name.slice(0, name.length - ending.length)];
  const room = mostBytes - new TextEncoder().encode(ending).length;
  while (new TextEncoder().encode(letters.join("")).length > room) letters.pop();
  return letters.join("").trimEnd() + ending;
}
