import { expect, test } from "vitest";
import { duration } from "./duration.ts";

test.each([
  [86_400, "1 day", "1天"],
  [30 * 86_400, "30 days", "30天"],
  [129_600, "1.5 days", "1.5天"],
  [7_200, "2 hours", "2小时"],
  [90, "1.5 minutes", "1.5分钟"],
  [2, "2 seconds", "2秒钟"],
])("%d seconds are %s", (seconds, en, zh) => {
  expect(duration(seconds, "en")).toBe(en);
  expect(duration(seconds, "zh-CN").replaceAll(" ", "")).toBe(zh);
});
