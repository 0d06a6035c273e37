import { expect, test } from "vitest";
import { query, readPlace, writePlace } from "./filters.ts";

test("an address and what it shows are the same", () => {
  for (const search of ["", "?view=live", "?from=2026-11-01&ip=192.0.2.0%2F24&q=%E7%8E%8B+%26&view=events"]) {
    expect(writePlace(readPlace(search))).toBe(search);
  }
});

test("what is not known is left out", () => {
  expect(readPlace("?view=x&country=+GB+&city=&token=secret")).toEqual({
    view: "audit",
    filters: { country: "GB" },
  });
});

test("the server is asked for no more than is wanted", () => {
  expect(query({ country: "GB" }, { cursor: "", limit: "50" }).toString()).toBe("country=GB&limit=50");
});
