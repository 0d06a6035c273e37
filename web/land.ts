import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { feature } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import type { Plugin } from "vite";

/**
 * The land of Natural Earth (1:110 million, public domain) as the data of one SVG path, in degrees: x is
 * the longitude, y the latitude downwards. Made when the page is built, so that the browser needs neither
 * the library nor the atlas.
 */
export function land(): Plugin {
  const id = "virtual:land";
  return {
    name: "land",
    resolveId: (source) => (source === id ? `\0${id}` : null),
    load: (resolved) => (resolved === `\0${id}` ? `export default ${JSON.stringify(path())};` : null),
  };
}

function path(): string {
  const file = createRequire(import.meta.url).resolve("world-atlas/land-110m.json");
  const atlas = JSON.parse(readFileSync(file, "utf8")) as Topology<{ land: GeometryCollection }>;
  const rings: string[] = [];
  for (const { geometry } of feature(atlas, atlas.objects.land).features) {
    const polygons =
      geometry.type === "Polygon"
        ? [geometry.coordinates]
        : geometry.type === "MultiPolygon"
          ? geometry.coordinates
          : [];
    for (const ring of polygons.flat()) rings.push(...around(ring as [number, number][]));
  }
  return rings.join("");
}

/**
 * A ring that crosses the 180th meridian comes back at the other side in the atlas. Here it goes on beyond
 * it, and is drawn a second time a whole turn away: the frame cuts off what is too much of both.
 */
function around(ring: [number, number][]): string[] {
  let turn = 0;
  let before = ring[0]?.[0] ?? 0;
  const lons = ring.map(([lon]) => {
    if (lon - before > 180) turn -= 360;
    if (before - lon > 180) turn += 360;
    before = lon;
    return lon + turn;
  });
  const drawn = (shift: number) =>
    `M${ring.map(([, lat], i) => `${round((lons[i] ?? 0) + shift)} ${round(-lat)}`).join("L")}Z`;
  const paths = [drawn(0)];
  if (Math.max(...lons) > 180) paths.push(drawn(-360));
  if (Math.min(...lons) < -180) paths.push(drawn(360));
  return paths;
}

const round = (n: number) => Math.round(n * 10) / 10;
