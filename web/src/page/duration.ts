const units = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
] as const;

/** A length of time in the page's language, in the largest unit of which there is a whole one: "2 days". */
export function duration(seconds: number, language = document.documentElement.lang): string {
  const [unit, length] = units.find(([, length]) => seconds >= length) ?? ["second", 1];
  const format = new Intl.NumberFormat(language || "en", {
    style: "unit",
    unit,
    unitDisplay: "long",
    maximumFractionDigits: 1,
  });
  return format.format(seconds / length);
}
