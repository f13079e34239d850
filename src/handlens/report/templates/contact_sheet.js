"use strict";
// The sheet can be read and its ids copied without any of this: it only puts the command together.
const command = document.getElementById("command");
const changes = document.getElementById("changes");
const base = command.textContent;
const untold = changes.innerHTML;
// As in contact_sheet.py: quotation marks that every shell knows, where they do.
function quoted(word) {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  return word && !/["$`\\!%\n]/.test(word) ? `"${word}"` : `'${word.replaceAll("'", `'"'"'`)}'`;
}
function tell() {
  const changed = [...document.querySelectorAll(".tile.changed")];
  const words = changed.map((tile) => `${tile.classList.contains("kept") ? "--drop" : "--keep"} ${quoted(tile.dataset.id)}`);
  command.textContent = [base, ...words].join(" ");
  if (changed.length) changes.textContent = `${changed.length} decided otherwise on this page: give this command.`;
  else changes.innerHTML = untold;
}
for (const tile of document.querySelectorAll(".tile")) {
  const button = tile.querySelector("button");
  const mark = tile.querySelector(".mark");
  const [offered, verdict] = [button.textContent, mark.textContent];
  button.hidden = false;
  button.addEventListener("click", () => {
    const changed = tile.classList.toggle("changed");
    button.setAttribute("aria-pressed", changed);
    button.textContent = changed ? "As before" : offered;
    mark.textContent = changed ? (tile.classList.contains("kept") ? "To be left out" : "To be kept") : verdict;
    tell();
  });
}
