import land from "virtual:land";
import type { Spot, Summary } from "./api.ts";
import { moment, texts } from "./texts.ts";

/** In degrees, as the land's path is: without the Antarctic. */
const frame = { x: -180, y: -84, width: 360, height: 142 };
const listed = 8;
/** Fewer bars than these are not drawn wider. */
const fewest = 12;

/** Where meetings were created. Circles grow with the number by their area. */
export function WorldMap({ summary, choose }: { summary: Summary; choose(spot: Spot): void }) {
  const t = texts();
  const { places } = summary;
  const most = Math.max(1, ...places.map((spot) => spot.count));
  return (
    <figure class="chart" data-testid="map">
      <figcaption>
        {t.where}
        {summary.nowhere > 0 && <small>{t.nowhere(summary.nowhere)}</small>}
      </figcaption>
      <svg
        viewBox={`${frame.x} ${frame.y} ${frame.width} ${frame.height}`}
        role="img"
        aria-label={t.mapOf(places.length)}
      >
        <path class="land" d={land} />
        {places.map((spot) => (
          <circle
            key={`${spot.lat} ${spot.lon}`}
            class="spot"
            data-testid="spot"
            cx={spot.lon}
            cy={-spot.lat}
            r={1.6 + 5 * Math.sqrt(spot.count / most)}
          >
            <title>{`${nameOf(spot)}: ${spot.count}`}</title>
          </circle>
        ))}
      </svg>
      <ol class="places">
        {places.slice(0, listed).map((spot) => (
          <li key={`${spot.lat} ${spot.lon}`}>
            <button type="button" class="quiet" data-testid="place" onClick={() => choose(spot)}>
              {nameOf(spot)} <b>{spot.count}</b>
            </button>
          </li>
        ))}
      </ol>
    </figure>
  );
}

export function nameOf(place: { city: string | null; country: string | null }): string {
  return [place.city, place.country].filter(Boolean).join(", ");
}

export function Histogram({ summary }: { summary: Summary }) {
  const t = texts();
  const { from, span_s, counts } = summary.histogram;
  const at = (bar: number) =>
    moment(new Date(Date.parse(from) + bar * span_s * 1000).toISOString()).slice(0, -3);
  const most = Math.max(1, ...counts);
  return (
    <figure class="chart" data-testid="histogram">
      <figcaption>
        {t.when}
        <small>{t.counted(summary.rows, summary.more)}</small>
      </figcaption>
      {counts.length > 0 && (
        <>
          <svg
            class="bars"
            viewBox={`${Math.min(0, counts.length - fewest) / 2} 0 ${Math.max(counts.length, fewest)} 40`}
            preserveAspectRatio="none"
            role="img"
            aria-label={t.histogramOf(at(0), at(counts.length))}
          >
            {counts.map((count, bar) => (
              <rect
                key={bar}
                class="bar"
                data-testid="bar"
                x={bar + 0.08}
                width={0.84}
                y={40 - (38 * count) / most}
                height={(38 * count) / most}
              >
                <title>{t.bar(at(bar), count)}</title>
              </rect>
            ))}
          </svg>
          <p class="axis">
            <span>{at(0)}</span>
            <span>{at(counts.length)}</span>
          </p>
        </>
      )}
    </figure>
  );
}
