// parapet_classifier_probe CARD IMAGE...: one JSON line per image with the scores, for conformance
// tests.
#include <iostream>
#include <nlohmann/json.hpp>

#include "parapet/engine/classifier/image_classifier.h"

int main(int argc, char** argv) {
  try {
    const auto classifier = parapet::ImageClassifier::load(argv[1]);
    for (int i = 2; i < argc; ++i) {
      nlohmann::json scores;
      for (const auto& score : classifier->score(parapet::load_image(argv[i])))
        scores[score.name] = score.score;
      std::cout << scores.dump() << "\n";
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
