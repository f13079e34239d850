const copy = document.getElementById("copy");
copy.hidden = false;
copy.addEventListener("click", async () => {
  const command = document.getElementById("command");
  try {
    await navigator.clipboard.writeText(command.textContent);
  } catch {
    // Some browsers keep the clipboard from pages that are opened as files; selecting works everywhere.
    getSelection().selectAllChildren(command);
    document.execCommand("copy");
  }
  copy.textContent = "Copied";
  setTimeout(() => { copy.textContent = "Copy"; }, 2000);
});
