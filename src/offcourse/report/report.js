// Sorts and filters tables and enlarges figures. The page is complete without it.
"use strict";

function value(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
}

function compare(one, other) {
  const numbers = [one, other].map(parseFloat);
  // What has no number ("–") goes last in rising order.
  if (numbers.some((number) => !isNaN(number))) {
    return (isNaN(numbers[0]) ? Infinity : numbers[0]) - (isNaN(numbers[1]) ? Infinity : numbers[1]) || 0;
  }
  return one.localeCompare(other);
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => compare(value(a, column), value(b, column)) * (falling ? -1 : 1));
      body.append(...rows);
    });
  });
}

function filterable(table, number) {
  const box = document.createElement("div");
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("span");
  box.className = "filter";
  input.type = "search";
  input.id = `filter-${number}`;
  label.htmlFor = input.id;
  label.textContent = "Only rows with";
  count.className = "count";
  count.setAttribute("role", "status");
  box.append(label, input, count);
  table.closest(".wide").before(box);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => !row.classList.contains("part"));
    rows.forEach((row) => {
      // The heading of a part belongs to each of its rows.
      const part = row.parentElement.querySelector(".part")?.textContent ?? "";
      const text = `${part} ${row.textContent}`.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    });
    count.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
  });
}

function enlargeable(image, dialog) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "enlarge";
  button.setAttribute("aria-label", `Enlarge: ${image.alt}`);
  image.before(button);
  button.append(image);
  button.addEventListener("click", () => {
    const large = dialog.querySelector("img");
    large.src = image.src;
    large.alt = image.alt;
    large.style.setProperty("--own", image.style.getPropertyValue("--own"));
    large.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
    dialog.showModal();
    dialog.scrollTo(0, 0);
  });
}

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("table.filterable").forEach(filterable);
const dialog = document.createElement("dialog");
dialog.setAttribute("aria-label", "Enlarged figure");
const close = document.createElement("button");
close.type = "button";
close.textContent = "Close (Esc)";
close.addEventListener("click", () => dialog.close());
dialog.append(close, document.createElement("img"));
// A click beside the button closes as well.
dialog.addEventListener("click", (event) => { if (event.target !== close) dialog.close(); });
document.querySelectorAll("figure img").forEach((image) => enlargeable(image, dialog));
document.body.append(dialog);
// Paper has no triangles to click.
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
