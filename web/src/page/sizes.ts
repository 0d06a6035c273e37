/** Bytes and bytes a second, as people read them. */

const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

function format(bytes: number, suffix: string): string {
  const step = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return new Intl.NumberFormat(document.documentElement.lang, {
    style: "unit",
    unit: `${units[step]}${suffix}`,
    unitDisplay: "short",
    maximumFractionDigits: step < 2 ? 0 : 1,
  }).format(bytes / 1000 ** step);
}

export const sizeText = (bytes: number) => format(bytes, "");
export const rateText = (bytesPerSecond: number) => format(bytesPerSecond, "-per-second");

/** How fast something goes, from how far it is. */
export function createMeter(): (done: number) => number {
  let at = performance.now();
  let before: number | undefined;
  let rate = 0;
  return (done) => {
    const now = performance.now();
    before ??= done;
    // A while is looked at as a whole, or the number would dance.
    if (now - at >= 700 || rate === 0) {
      rate = now > at ? Math.max(0, ((done - before) * 1000) / (now - at)) : 0;
      if (now - at >= 700) [at, before] = [now, done];
    }
    return rate;
  };
}
