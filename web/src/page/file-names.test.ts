import { expect, test } from "vitest";
import { safeName } from "./file-names.ts";

test("a hostile name becomes one that may be shown and saved", () => {
  for (const [name, safe] of [
    ["notes.txt", "notes.txt"],
    ["会议记录.docx", "会议记录.docx"],
    ["../../etc/passwd", "passwd"],
    ["C:\\Windows\\system32\\cmd.exe", "cmd.exe"],
    ["invoice\u202Efdp.exe", "invoicefdp.exe"],
    ["a\u2066b\u200Ec\u0000d.png", "abcd.png"],
    [".bashrc", "bashrc"],
    ["trailing. . ", "trailing"],
    ['<img src=x onerror="1">.png', "_img src=x onerror=_1__.png"],
    ["con.txt", "_con.txt"],
    ["half \ud800 emoji", "half \ufffd emoji"],
    ["..", "file"],
    ["", "file"],
  ]) {
    expect(safeName(name as string)).toBe(safe);
  }
});

test("a long name keeps its ending and stays what it is when it is made safe again", () => {
  const safe = safeName(`${"长".repeat(300)}.tar.gz`);
  expect(safe.endsWith(".gz")).toBe(true);
  expect(new TextEncoder().encode(safe).length).toBeLessThanOrEqual(180);
  expect(safeName(safe)).toBe(safe);
});
