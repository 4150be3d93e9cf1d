// The page at "/": drop an image, type a text, see the decision. No network but this server.
#pragma once
#include <string>

namespace parapet::serving {

const std::string& page_html();
// Of its reply: nothing from elsewhere, no script but its own (named by hash).
const std::string& page_security_policy();

}  // namespace parapet::serving
