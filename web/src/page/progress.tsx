import { rateText } from "./sizes.ts";

interface ProgressProps {
  /** What is under way, for screen readers. */
  label: string;
  /** The same beside the bar, if it is not said there already. */
  shown?: string;
  done: number;
  total: number;
  /** Bytes a second, if it is known. */
  rate?: number;
}

/** A bar with percent and rate. The numbers are not read out one by one: the bar is there to be asked. */
export function Progress({ label, shown, done, total, rate = 0 }: ProgressProps) {
  const percent = total === 0 ? 100 : Math.floor((done * 100) / total);
  return (
    <div class="progress">
      <p class="progress-line" aria-hidden="true">
        {shown !== undefined && (
          <span class="progress-what" dir="auto">
            {shown}
          </span>
        )}
        <span>{percent} %</span>
        {rate > 0 && <span>{rateText(rate)}</span>}
      </p>
      <progress aria-label={label} max={100} value={percent} />
    </div>
  );
}
