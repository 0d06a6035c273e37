import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const folder = new URL(".", import.meta.url);
const sources = readdirSync(folder).filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"));

test.each(sources)("%s knows neither the document nor the page on top", (name) => {
  const code = readFileSync(new URL(name, folder), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
  expect(code).not.toMatch(/\b(document|window|localStorage|sessionStorage|HTML\w*Element|navigator)\b/);
  expect(code).not.toMatch(/from "(preact|\.\.\/page)/);
});
