// The quiz: real or made up? Real pictures of the training data, which a page has only if its maker
// asked for it, and pictures that the network makes up, in an order that is drawn each time.

const ROUNDS = 10;

/**
 * Set up the quiz in a dialog. `extra(name)` gives the bytes of `reals`, a PNG of real pictures one below
 * the other, and of `licence`, a text; `made()` a picture that was made up, as ImageData.
 */
export function quizIn(dialog, info, extra, made) {
  const part = (name) => dialog.querySelector(`.quiz-${name}`);
  const [canvas, says, score, answers, next] = ["picture", "says", "score", "answers", "next"].map(part);
  const context = canvas.getContext("2d");
  Object.assign(canvas, { width: info.width, height: info.height });
  let pictures, rounds, right, truth;

  async function begin() {
    pictures ??= await createImageBitmap(new Blob([await extra("reals")], { type: "image/png" }));
    part("licence").textContent = `Real pictures: ${new TextDecoder().decode(await extra("licence"))}`;
    const count = pictures.height / info.height;
    const order = shuffled(Array.from({ length: count }, (_, n) => n));
    rounds = shuffled(Array.from({ length: ROUNDS }, (_, n) => (n % 2 ? order[n >> 1] : null)));
    right = 0;
    await ask();
  }

  async function ask() {
    if (!rounds.length) return begin();
    truth = rounds.pop();
    context.fillStyle = "#fff"; // below what is transparent
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (truth === null) context.putImageData(await made(), 0, 0);
    else context.drawImage(pictures, 0, truth * info.height, info.width, info.height, 0, 0, info.width, info.height);
    says.textContent = "A real picture, or one that the network made up?";
    [answers.hidden, next.hidden] = [false, true];
    answers.firstElementChild.focus();
  }

  function answer(real) {
    const isRight = real === (truth !== null);
    right += isRight;
    const asked = ROUNDS - rounds.length;
    says.textContent = `${isRight ? "Right" : "Wrong"}: ${truth === null ? "it is made up." : "it is real."}`;
    score.value = rounds.length ? `${right} of ${asked} right` : `The end: ${right} of ${ROUNDS} right. By guessing alone, people get ${ROUNDS / 2}.`;
    [answers.hidden, next.hidden] = [true, false];
    next.textContent = rounds.length ? "Next" : "Again";
    next.focus();
  }

  for (const [n, button] of [...answers.children].entries()) button.addEventListener("click", () => answer(n === 0));
  next.addEventListener("click", ask);
  return () => {
    score.value = says.textContent = "";
    answers.hidden = next.hidden = true; // until there is a picture
    dialog.showModal();
    return begin();
  };
}

function shuffled(list) {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
}
