/** Characters that show nothing by themselves, as the server takes them (rule 7 of the wire contract). */
const nothing = "\\s\\p{Default_Ignorable_Code_Point}\\p{Cf}\\u2800\\u{1D159}";
/** Of those, what may belong to the emoji or the letter before it: the server knows. */
const shaping = "\\u200C\\u200D\\p{Variation_Selector}\\u{E0020}-\\u{E007F}";

const visible = new RegExp(`[^${nothing}]`, "u");
const start = new RegExp(`^[${nothing}]+`, "u");
const end = new RegExp(`[${nothing}]+$`, "u");
const endButShaping = new RegExp(`(?:(?![${shaping}])[${nothing}])+$`, "u");

/** A text without what nobody sees at its ends; "" if nothing in it can be seen. */
export function trimmed(text: string): string {
  return visible.test(text) ? text.replace(start, "").replace(endButShaping, "") : "";
}

/** A pasted link without what other programs put around it. */
export function trimmedLink(text: string): string {
  return text.replace(start, "").replace(end, "");
}
