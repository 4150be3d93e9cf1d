#include "parapet/data/grammar_tables.h"

namespace parapet::grammar {
namespace {

constexpr auto kM = Gender::kMasculine;
constexpr auto kF = Gender::kFeminine;

constexpr std::array<std::string_view, kCategories> kFeminineAdjectives = {
    "armada", "muerta", "borracha", "drogada", "grosera", "en llamas", "envenenada"};

std::string phrase(const Language& table, const Noun& noun, bool /*oblique*/, int category) {
  if (noun.gender == Gender::kBare) return std::string(noun.word);
  const bool feminine = noun.gender == kF;
  std::string text = feminine ? "una " : "un ";
  text += noun.word;
  if (category >= 0) {
    const auto& forms = feminine ? kFeminineAdjectives : table.adjectives;
    text += " ";
    text += forms.at(static_cast<size_t>(category));
  }
  return text;
}

const Language kTable = {
    "es",
    {{{"perro", kM},
      {"gato", kM},
      {"caballo", kM},
      {"vaca", kF},
      {"cerdo", kM},
      {"conejo", kM},
      {"león", kM},
      {"panda", kM},
      {"zorro", kM},
      {"elefante", kM},
      {"pingüino", kM},
      {"búho", kM},
      {"pato", kM},
      {"tortuga", kF},
      {"pulpo", kM},
      {"cangrejo", kM},
      {"mariposa", kF},
      {"muñeco de nieve", kM},
      {"bebé", kM},
      {"niño", kM},
      {"niña", kF},
      {"policía", kM},
      {"princesa", kF},
      {"Papá Noel", kM},
      // places
      {"casa", kF},
      {"iglesia", kF},
      {"castillo", kM},
      {"escuela", kF},
      {"palmera", kF},
      {"tienda de campaña", kF},
      {"montaña", kF},
      {"noria", kF},
      // safe objects
      {"manzana roja", kF},
      {"plátano", kM},
      {"sandía", kF},
      {"pizza", kF},
      {"tarta de cumpleaños", kF},
      {"dónut", kM},
      {"caramelo", kM},
      {"café", kM},
      {"vaso de leche", kM},
      {"biberón", kM},
      {"balón de fútbol", kM},
      {"raqueta de tenis", kF},
      {"paraguas", kM},
      {"llave", kF},
      {"guitarra", kF},
      {"libro", kM},
      {"cámara", kF},
      {"mochila", kF},
      {"globo", kM},
      {"regalo", kM},
      {"trompeta", kF},
      {"girasol", kM},
      {"campana", kF},
      {"martillo", kM},
      // unsafe objects
      {"cuchillo", kM},
      {"puñal", kM},
      {"bomba", kF},
      {"espadas cruzadas", Gender::kBare},
      {"un arco y una flecha", Gender::kBare},
      {"cráneo", kM},
      {"ataúd", kM},
      {"calavera con huesos cruzados", kF},
      {"urna funeraria", kF},
      {"cerveza", kF},
      {"copa de vino", kF},
      {"cóctel", kM},
      {"botella de champán", kF},
      {"cigarrillo", kM},
      {"jeringuilla", kF},
      {"píldora", kF},
      {"dedo corazón", kM},
      {"pulgar hacia abajo", kM},
      {"puño", kM},
      {"fuego", kM},
      {"explosión", kF},
      {"señal de riesgo biológico", kF},
      {"señal de radiación", kF},
      {"barril de petróleo", kM}}},
    {{{""}, {"una foto de "}, {"una imagen de "}, {"un dibujo de "}, {"aquí hay "}, {"se ve "}}},
    {"{S} con {o}", "{O} junto a {s}", "{S} y {O}", "{S} al lado de {o}"},
    {" cerca de {p}", " junto a {p}", " delante de {p}"},
    {" sobre fondo {c}", ", fondo {c}", " sobre un fondo {c}", " ante un fondo {c}"},
    {"{n} sosteniendo {u}", "{U} y {n}", " junto a {u}", " con {u}"},
    {"rojo", "amarillo", "verde", "azul", "morado", "rosa", "gris", "blanco"},
    {"armado", "muerto", "borracho", "drogado", "grosero", "en llamas", "envenenado"},
    phrase};

}  // namespace

const Language& spanish() { return kTable; }

}  // namespace parapet::grammar
