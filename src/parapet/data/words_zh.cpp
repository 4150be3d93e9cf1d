#include "parapet/data/grammar_tables.h"

namespace parapet::grammar {
namespace {

constexpr Noun count(std::string_view word, std::string_view measure) {
  return {word, Gender::kNeuter, {}, measure};
}

// One + measure word + (adjective) + noun.
std::string phrase(const Language& table, const Noun& noun, bool /*oblique*/, int category) {
  std::string text = "一";
  text += noun.measure;
  if (category >= 0) text += table.adjectives.at(static_cast<size_t>(category));
  text += noun.word;
  return text;
}

const Language kTable = {
    "zh",
    {{count("狗", "只"), count("猫", "只"), count("马", "匹"), count("奶牛", "头"),
      count("猪", "头"), count("兔子", "只"), count("狮子", "头"), count("熊猫", "只"),
      count("狐狸", "只"), count("大象", "头"), count("企鹅", "只"), count("猫头鹰", "只"),
      count("鸭子", "只"), count("乌龟", "只"), count("章鱼", "只"), count("螃蟹", "只"),
      count("蝴蝶", "只"), count("雪人", "个"), count("婴儿", "个"), count("男孩", "个"),
      count("女孩", "个"), count("警察", "名"), count("公主", "位"), count("圣诞老人", "位"),
      // places
      count("房子", "座"), count("教堂", "座"), count("城堡", "座"), count("学校", "所"),
      count("棕榈树", "棵"), count("帐篷", "顶"), count("山", "座"), count("摩天轮", "座"),
      // safe objects
      count("红苹果", "个"), count("香蕉", "根"), count("西瓜", "个"), count("披萨", "个"),
      count("生日蛋糕", "个"), count("甜甜圈", "个"), count("糖果", "颗"), count("咖啡", "杯"),
      count("牛奶", "杯"), count("奶瓶", "个"), count("足球", "个"), count("网球拍", "支"),
      count("雨伞", "把"), count("钥匙", "把"), count("吉他", "把"), count("书", "本"),
      count("相机", "台"), count("背包", "个"), count("气球", "个"), count("礼物", "份"),
      count("小号", "支"), count("向日葵", "朵"), count("铃铛", "个"), count("锤子", "把"),
      // unsafe objects
      count("菜刀", "把"), count("匕首", "把"), count("炸弹", "颗"), count("交叉的剑", "对"),
      count("弓箭", "副"), count("头骨", "个"), count("棺材", "口"), count("骷髅标志", "个"),
      count("骨灰缸", "个"), count("啤酒", "杯"), count("葡萄酒", "杯"), count("鸡尾酒", "杯"),
      count("香槟", "瓶"), count("香烟", "支"), count("注射器", "支"), count("药丸", "粒"),
      count("中指", "根"), count("倒拇指", "个"), count("拳头", "个"), count("火", "团"),
      count("爆炸", "场"), count("生物危害标志", "个"), count("辐射标志", "个"),
      count("油桶", "个")}},
    {{{""}, {"照片里有"}, {"图片里有"}, {"一幅画，画着"}, {"这是"}, {"可以看到"}}},
    {"{S}带着{O}", "{O}在{S}旁边", "{S}和{O}", "{S}挨着{O}"},
    {"，在{p}附近", "，在{p}旁边", "，在{p}前面"},
    {"，{c}底", "，{c}背景", "，背景是{c}", "，在{c}背景上"},
    {"拿着{u}的{n}", "{U}和{n}", "，旁边有{u}", "，还有{u}"},
    {"红色", "黄色", "绿色", "蓝色", "紫色", "粉色", "灰色", "白色"},
    {"持械的", "死去的", "喝醉的", "嗑药的", "粗鲁的", "着火的", "中毒的"},
    phrase};

}  // namespace

const Language& chinese() { return kTable; }

}  // namespace parapet::grammar
