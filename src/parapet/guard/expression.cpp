#include "parapet/guard/expression.h"

#include <charconv>

#include "parapet/core/error.h"

namespace parapet::guard {
namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kMaxLength = 8192;

bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_name(char c) { return is_name_start(c) || (c >= '0' && c <= '9') || c == '-'; }

}  // namespace

struct Expression::Node {
  enum class Kind { kAnd, kOr, kNot, kCompare, kRule, kText, kNotScanned };
  Kind kind = Kind::kAnd;
  std::vector<std::shared_ptr<const Node>> children;
  std::string name;  // category, rule; side, profile or tenant for kText
  std::optional<Modality> modality;
  std::string op;
  double number = 0;
  std::string text;
};

namespace {

using Node = Expression::Node;
using NodePtr = std::shared_ptr<const Node>;

struct Token {
  enum class Kind { kEnd, kName, kNumber, kText, kSymbol };
  Kind kind = Kind::kEnd;
  std::string text;
  double number = 0;
  size_t column = 1;
};

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) { advance(); }
  const Token& token() const { return token_; }
  Token take() {
    Token taken = token_;
    advance();
    return taken;
  }
  bool take_if(std::string_view text) {
    if (token_.kind == Token::Kind::kText || token_.text != text) return false;
    advance();
    return true;
  }
  [[noreturn]] void fail(const std::string& expected) const {
    const std::string found =
        token_.kind == Token::Kind::kEnd ? "the end" : "'" + token_.text + "'";
    throw UsageError("column " + std::to_string(token_.column) + ": expected " + expected +
                     ", found " + found);
  }

 private:
  void advance() {
    while (pos_ < text_.size() && (text_[pos_] == ' ' || text_[pos_] == '\t' ||
                                   text_[pos_] == '\n' || text_[pos_] == '\r'))
      ++pos_;
    token_ = {};
    token_.column = pos_ + 1;
    if (pos_ >= text_.size()) return;
    const char c = text_[pos_];
    if (is_name_start(c)) return name();
    if ((c >= '0' && c <= '9') || c == '.') return number();
    if (c == '"' || c == '\'') return quoted(c);
    symbol();
  }
  void name() {
    const size_t start = pos_;
    while (pos_ < text_.size() && is_name(text_[pos_])) ++pos_;
    token_.kind = Token::Kind::kName;
    token_.text = text_.substr(start, pos_ - start);
  }
  void number() {
    const char* begin = text_.data() + pos_;
    const char* end = text_.data() + text_.size();
    const auto [stop, error] = std::from_chars(begin, end, token_.number, std::chars_format::fixed);
    if (error != std::errc()) {
      if (*begin == '.') return symbol();
      fail("a number");
    }
    token_.kind = Token::Kind::kNumber;
    token_.text = std::string(begin, stop);
    pos_ += static_cast<size_t>(stop - begin);
  }
  void quoted(char quote) {
    const size_t close = text_.find(quote, pos_ + 1);
    if (close == std::string_view::npos) fail("a closing quote");
    token_.kind = Token::Kind::kText;
    token_.text = text_.substr(pos_ + 1, close - pos_ - 1);
    pos_ = close + 1;
  }
  void symbol() {
    token_.kind = Token::Kind::kSymbol;
    const std::string_view two = text_.substr(pos_, 2);
    const bool pair = two == ">=" || two == "<=" || two == "==" || two == "!=";
    token_.text = text_.substr(pos_, pair ? 2 : 1);
    pos_ += token_.text.size();
  }

  std::string_view text_;
  size_t pos_ = 0;
  Token token_;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) {}
  NodePtr parse() {
    NodePtr root = either(0);
    if (lexer_.token().kind != Token::Kind::kEnd) lexer_.fail("'and', 'or' or the end");
    return root;
  }
  std::vector<std::string> categories, rules;

 private:
  NodePtr either(int depth) {
    if (depth > kMaxDepth) throw UsageError("nests deeper than " + std::to_string(kMaxDepth));
    return chain(Node::Kind::kOr, "or",
                 [&] { return chain(Node::Kind::kAnd, "and", [&] { return unary(depth); }); });
  }
  template <class Next>
  NodePtr chain(Node::Kind kind, std::string_view word, const Next& next) {
    NodePtr first = next();
    if (lexer_.token().text != word || lexer_.token().kind != Token::Kind::kName) return first;
    auto node = std::make_shared<Node>();
    node->kind = kind;
    node->children.push_back(first);
    while (lexer_.token().kind == Token::Kind::kName && lexer_.take_if(word))
      node->children.push_back(next());
    return node;
  }
  NodePtr unary(int depth) {
    if (lexer_.token().kind == Token::Kind::kName && lexer_.take_if("not")) {
      if (depth > kMaxDepth) throw UsageError("nests deeper than " + std::to_string(kMaxDepth));
      auto node = std::make_shared<Node>();
      node->kind = Node::Kind::kNot;
      node->children.push_back(unary(depth + 1));
      return node;
    }
    if (lexer_.take_if("(")) {
      NodePtr inner = either(depth + 1);
      if (!lexer_.take_if(")")) lexer_.fail("')'");
      return inner;
    }
    if (lexer_.token().kind != Token::Kind::kName)
      lexer_.fail("a category, rule(\"name\"), side, profile, tenant, not_scanned or '('");
    return operand(lexer_.take().text);
  }
  NodePtr operand(const std::string& name) {
    auto node = std::make_shared<Node>();
    node->name = name;
    if (name == "not_scanned") {
      node->kind = Node::Kind::kNotScanned;
      return node;
    }
    if (name == "rule") {
      node->kind = Node::Kind::kRule;
      if (!lexer_.take_if("(")) lexer_.fail("'(' and a rule's name in quotes");
      if (lexer_.token().kind != Token::Kind::kText) lexer_.fail("a rule's name in quotes");
      node->name = lexer_.take().text;
      if (!lexer_.take_if(")")) lexer_.fail("')'");
      rules.push_back(node->name);
      return node;
    }
    if (name == "side" || name == "profile" || name == "tenant") return text_test(std::move(node));
    return comparison(std::move(node));
  }
  NodePtr text_test(std::shared_ptr<Node> node) {
    node->kind = Node::Kind::kText;
    node->op = lexer_.token().text;
    if (!lexer_.take_if("==") && !lexer_.take_if("!=")) lexer_.fail("== or !=");
    if (lexer_.token().kind != Token::Kind::kText) lexer_.fail("a text in quotes");
    node->text = lexer_.take().text;
    return node;
  }
  NodePtr comparison(std::shared_ptr<Node> node) {
    node->kind = Node::Kind::kCompare;
    categories.push_back(node->name);
    if (lexer_.take_if(".")) {
      const std::string modality = lexer_.token().text;
      for (const Modality one : {Modality::kText, Modality::kImage, Modality::kJoint})
        if (modality == modality_name(one)) node->modality = one;
      if (!node->modality) lexer_.fail("text, image or joint");
      lexer_.take();
    }
    node->op = lexer_.token().text;
    const bool known = lexer_.token().kind == Token::Kind::kSymbol &&
                       (node->op == ">=" || node->op == "<=" || node->op == ">" || node->op == "<");
    if (!known) lexer_.fail(">=, >, <= or <");
    lexer_.take();
    if (lexer_.token().kind != Token::Kind::kNumber) lexer_.fail("a number");
    node->number = lexer_.take().number;
    return node;
  }

  Lexer lexer_;
};

std::optional<bool> compare(const Node& node, const ExpressionFacts& facts) {
  const auto score = facts.score(node.name, node.modality);
  if (!score) return std::nullopt;
  if (node.op == ">=") return *score >= node.number;
  if (node.op == ">") return *score > node.number;
  if (node.op == "<=") return *score <= node.number;
  return *score < node.number;
}

std::optional<bool> evaluate_node(const Node& node, const ExpressionFacts& facts) {
  switch (node.kind) {
    case Node::Kind::kNotScanned:
      return facts.not_scanned;
    case Node::Kind::kRule:
      return facts.rule(node.name);
    case Node::Kind::kCompare:
      return compare(node, facts);
    case Node::Kind::kText: {
      const auto& value = node.name == "side"      ? facts.side
                          : node.name == "profile" ? facts.profile
                                                   : facts.tenant;
      return (value == node.text) == (node.op == "==");
    }
    case Node::Kind::kNot: {
      const auto inner = evaluate_node(*node.children[0], facts);
      if (!inner) return std::nullopt;
      return !*inner;
    }
    case Node::Kind::kAnd:
    case Node::Kind::kOr:
      break;
  }
  const bool decisive = node.kind == Node::Kind::kOr;
  std::optional<bool> result = !decisive;
  for (const NodePtr& child : node.children) {
    const auto value = evaluate_node(*child, facts);
    if (value && *value == decisive) return decisive;
    if (!value) result = std::nullopt;
  }
  return result;
}

}  // namespace

Expression Expression::parse(std::string_view text) {
  if (text.size() > kMaxLength) throw UsageError("is longer than 8192 bytes");
  Parser parser(text);
  Expression expression;
  expression.root_ = parser.parse();
  expression.categories_ = std::move(parser.categories);
  expression.rules_ = std::move(parser.rules);
  return expression;
}

std::optional<bool> Expression::evaluate(const ExpressionFacts& facts) const {
  return evaluate_node(*root_, facts);
}

}  // namespace parapet::guard
