import { beforeEach, expect, test, vi } from "vitest";
import { attemptAnswered, attemptAt } from "./attempts.ts";

beforeEach(() => {
  const kept = new Map<string, string>();
  vi.stubGlobal("sessionStorage", {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => kept.set(key, value),
    removeItem: (key: string) => kept.delete(key),
  });
});

test("an attempt keeps its secret until it is answered, as the same person in the same meeting", () => {
  const first = attemptAt("key", "Ada");
  expect(first.secret).toMatch(/^[\w-]{22}$/);
  expect(first.asked).toBe(false);
  expect(attemptAt("key", "Ada")).toEqual({ secret: first.secret, asked: true });
  expect(attemptAt("key", "Grace").asked).toBe(false);
  attemptAnswered();
  expect(attemptAt("key", "Grace").asked).toBe(false);
});

test("where nothing can be stored each attempt is one of its own", () => {
  vi.stubGlobal("sessionStorage", undefined);
  expect(attemptAt("key", "Ada").secret).not.toBe(attemptAt("key", "Ada").secret);
  attemptAnswered();
});
