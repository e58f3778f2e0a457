// What an image was painted over, as a fact of its canvas. This stands before gallery_page.js, whose
// function it wraps: functions of one script are there from its first line on.
const factsWithoutConditioning = factsOf;
factsOf = (canvas) => {
  const facts = factsWithoutConditioning(canvas);
  if (canvas.conditioning) {
    facts.splice(1, 0, ["painted over", element("img", { src: jpeg(canvas.conditioning), alt: "colour map" })]);
  }
  return facts;
};
