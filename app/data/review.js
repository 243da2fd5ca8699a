"use strict";

(() => {
  const FORMULA = /^'*[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/;
  const COLUMNS = ["path", "sha256", "decision", "to", "note"];
  const files = [...document.querySelectorAll("figure[data-sha256]")];
  const decided = new Map();
  let saved = true;

  const cell = (text) => `"${(FORMULA.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  const line = (cells) => `${cells.map(cell).join(",")}\n`;

  function table() {
    const rows = [...decided].map(([path, row]) => [path, row.sha256, row.decision, row.to, row.note]);
    return [COLUMNS, ...rows].map(line).join("");
  }

  function show() {
    for (const file of files) {
      const row = decided.get(file.dataset.path);
      const text = row ? `decided: ${row.decision}${row.to ? ` as ${row.to.replaceAll("_", " ")}` : ""}` : "";
      file.querySelector(".decided").textContent = text;
      for (const button of file.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(Boolean(row) && row.decision === button.value));
      }
    }
    document.getElementById("count").textContent = `${decided.size} decided`;
    document.getElementById("download").disabled = decided.size === 0;
  }

  function decide(file, decision) {
    const { path, sha256, note } = file.dataset;
    const choice = file.querySelector("select");
    if (decision === "relabel" && choice.value === "") {
      file.querySelector(".decided").textContent = "choose the new diagnosis first";
      choice.focus();
      return;
    }
    decided.set(path, { sha256, decision, to: decision === "relabel" ? choice.value : "", note });
    saved = false;
    show();
  }

  for (const file of files) {
    const { path, sha256, note, decision, to } = file.dataset;
    if (decision) decided.set(path, { sha256, decision, to, note });
    for (const button of file.querySelectorAll("button")) button.addEventListener("click", () => decide(file, button.value));
  }

  document.getElementById("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    link.download = "decisions.csv";
    link.click();
    URL.revokeObjectURL(link.href);
    saved = true;
  });
  window.addEventListener("beforeunload", (event) => {
    if (!saved) event.preventDefault();
  });
  for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
  show();
})();
