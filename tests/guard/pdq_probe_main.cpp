// Prints "hash quality" and the eight variants of each image file given;
// tests/conformance/test_pdq.py compares them with the public implementation.
#include <iostream>

#include "parapet/formats/image_hash.h"

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const parapet::Image image = parapet::load_image(argv[i]);
    const parapet::PdqResult result = parapet::pdq_hash(image);
    std::cout << result.hash.hex() << " " << result.quality;
    for (const parapet::PdqHash& hash : parapet::pdq_variants(image).hashes)
      std::cout << " " << hash.hex();
    std::cout << "\n";
  }
  return 0;
}
