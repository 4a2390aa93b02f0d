"""The object classes of the sample scenes: a code point and its names.

Grammar is ours: plurals, nouns that need "a pair of" or "a slice of", Chinese
measure words and synonyms. The code points are checked against the
names that the package `emoji` gives them (`check_names`).
"""

import dataclasses
import re
from collections.abc import Mapping

from interbert_jax.contract.errors import DataError
from tools.sample_data.nouns import Noun, pluralize

# Code point | English, synonyms | measure word | Chinese, synonyms.
# A plural that the rule of `pluralize` misses follows the noun after a slash.
_TABLE = """
1F415 | dog | 只 | 狗
1F408 | cat | 只 | 猫
1F401 | mouse/mice | 只 | 老鼠
1F407 | rabbit, bunny | 只 | 兔子
1F405 | tiger | 只 | 老虎
1F406 | leopard | 只 | 豹子
1F40E | horse | 匹 | 马
1F404 | cow | 头 | 奶牛
1F416 | pig | 头 | 猪
1F411 | sheep/sheep | 只 | 绵羊
1F410 | goat | 只 | 山羊
1F42A | camel | 头 | 骆驼
1F992 | giraffe | 只 | 长颈鹿
1F418 | elephant | 头 | 大象
1F98F | rhinoceros/rhinoceroses, rhino | 头 | 犀牛
1F99B | hippopotamus, hippo | 头 | 河马
1F998 | kangaroo | 只 | 袋鼠
1F994 | hedgehog | 只 | 刺猬
1F987 | bat | 只 | 蝙蝠
1F983 | turkey | 只 | 火鸡
1F413 | rooster | 只 | 公鸡
1F424 | chick, baby chick | 只 | 小鸡
1F986 | duck | 只 | 鸭子
1F985 | eagle | 只 | 老鹰
1F989 | owl | 只 | 猫头鹰
1F9A2 | swan | 只 | 天鹅
1F9A9 | flamingo | 只 | 火烈鸟
1F99A | peacock | 只 | 孔雀
1F99C | parrot | 只 | 鹦鹉
1F427 | penguin | 只 | 企鹅
1F438 | frog | 只 | 青蛙
1F43C | panda | 只 | 熊猫, 大熊猫
1F40A | crocodile | 条 | 鳄鱼
1F422 | turtle | 只 | 乌龟
1F98E | lizard | 只 | 蜥蜴
1F40D | snake | 条 | 蛇
1F40B | whale | 条 | 鲸鱼
1F42C | dolphin | 只 | 海豚
1F41F | fish/fish | 条 | 鱼
1F988 | shark | 条 | 鲨鱼
1F419 | octopus | 只 | 章鱼
1F40C | snail | 只 | 蜗牛
1F98B | butterfly | 只 | 蝴蝶
1F41C | ant | 只 | 蚂蚁
1F41D | bee, honeybee | 只 | 蜜蜂
1F41E | ladybug, ladybird | 只 | 瓢虫
1F577 | spider | 只 | 蜘蛛
1F982 | scorpion | 只 | 蝎子
1F980 | crab | 只 | 螃蟹
1F99E | lobster | 只 | 龙虾
1F990 | shrimp/shrimps, prawn | 只 | 虾
1F339 | rose | 朵 | 玫瑰, 玫瑰花
1F33B | sunflower | 朵 | 向日葵
1F337 | tulip | 朵 | 郁金香
1F490 | bouquet, bunch of flowers | 束 | 鲜花
1F332 | pine tree, evergreen tree | 棵 | 松树
1F334 | palm tree | 棵 | 棕榈树
1F335 | cactus/cacti | 棵 | 仙人掌
1F344 | mushroom | 个 | 蘑菇
1F341 | maple leaf/maple leaves | 片 | 枫叶
1F340 | four-leaf clover | 棵 | 四叶草
1F347 | bunch of grapes | 串 | 葡萄
1F349 | slice of watermelon | 块 | 西瓜
1F34A | tangerine, mandarin orange | 个 | 橘子
1F34B | lemon | 个 | 柠檬
1F34C | banana | 根 | 香蕉
1F34D | pineapple | 个 | 菠萝
1F34E | red apple, apple | 个 | 红苹果, 苹果
1F350 | pear | 个 | 梨
1F351 | peach | 个 | 桃子
1F352 | pair of cherries | 对 | 樱桃
1F353 | strawberry | 颗 | 草莓
1F345 | tomato/tomatoes | 个 | 西红柿, 番茄
1F346 | eggplant, aubergine | 个 | 茄子
1F955 | carrot | 根 | 胡萝卜
1F33D | ear of corn | 根 | 玉米
1F966 | head of broccoli | 棵 | 西兰花
1F9C5 | onion | 个 | 洋葱
1F336 | hot pepper, chili pepper | 个 | 红辣椒, 辣椒
1F951 | avocado | 个 | 鳄梨, 牛油果
1F35E | loaf of bread/loaves of bread | 块 | 面包
1F950 | croissant | 个 | 羊角面包, 牛角包
1F968 | pretzel | 个 | 椒盐卷饼
1F9C0 | piece of cheese, wedge of cheese | 块 | 奶酪, 芝士
1F354 | hamburger, burger | 个 | 汉堡, 汉堡包
1F355 | slice of pizza, piece of pizza | 块 | 披萨
1F32D | hot dog | 个 | 热狗
1F363 | piece of sushi | 块 | 寿司
1F366 | ice cream cone, ice cream | 个 | 冰淇淋, 冰激凌
1F369 | doughnut, donut | 个 | 甜甜圈
1F36A | cookie | 块 | 饼干
1F382 | birthday cake | 个 | 生日蛋糕
1F9C1 | cupcake | 个 | 纸杯蛋糕
1F36D | lollipop | 根 | 棒棒糖
1F96E | moon cake | 个 | 月饼
1F377 | glass of wine | 杯 | 葡萄酒, 红酒
1F37A | mug of beer, beer | 杯 | 啤酒
1F35C | bowl of noodles | 碗 | 面条
1F35A | bowl of rice | 碗 | 米饭
1F37F | box of popcorn | 盒 | 爆米花
1F35F | box of french fries, box of fries | 盒 | 薯条
1F36F | pot of honey | 罐 | 蜂蜜
1FAD6 | teapot | 把 | 茶壶
1F453 | pair of glasses | 副 | 眼镜
1F455 | T-shirt | 件 | T恤, T恤衫
1F456 | pair of jeans | 条 | 牛仔裤
1F457 | dress | 条 | 连衣裙, 裙子
1F9E4 | pair of gloves | 双 | 手套
1F9E5 | coat | 件 | 外套, 大衣
1F9E6 | pair of socks | 双 | 袜子
1F45F | running shoe, sneaker | 只 | 跑鞋, 运动鞋
1F460 | high-heeled shoe | 只 | 高跟鞋
1F462 | boot | 只 | 靴子
1F452 | hat, straw hat | 顶 | 帽子, 草帽
1F3A9 | top hat | 顶 | 礼帽
1F9E2 | cap, baseball cap | 顶 | 鸭舌帽, 棒球帽
1F451 | crown | 顶 | 皇冠, 王冠
1F9E3 | scarf/scarves | 条 | 围巾
1F45C | handbag | 个 | 手提包
1F392 | backpack, school bag | 个 | 书包, 双肩包
1F302 | closed umbrella, umbrella | 把 | 收起的雨伞, 雨伞
1F48D | ring, diamond ring | 枚 | 戒指, 钻戒
1F484 | lipstick | 支 | 唇膏, 口红
1F48E | gem, gemstone | 颗 | 宝石
1F514 | bell | 个 | 铃铛
1F3B8 | guitar | 把 | 吉他
1F3BB | violin | 把 | 小提琴
1F3BA | trumpet | 把 | 小号
1F3B7 | saxophone | 支 | 萨克斯管, 萨克斯
1F941 | drum | 面 | 鼓
1F3A4 | microphone | 支 | 麦克风, 话筒
1F4FB | radio | 台 | 收音机
1F4FA | television, TV/TVs | 台 | 电视机, 电视
1F4F1 | mobile phone, cell phone | 部 | 手机
1F4BB | laptop | 台 | 笔记本电脑
1F4F7 | camera | 台 | 相机, 照相机
1F4A1 | light bulb | 个 | 灯泡
1F56F | candle | 根 | 蜡烛
1F3EE | red lantern, red paper lantern | 盏 | 红灯笼
1F526 | flashlight, torch | 支 | 手电筒
1F4D6 | open book | 本 | 打开的书
1F58A | pen | 支 | 笔
1F58C | paintbrush | 支 | 画笔
1F511 | key | 把 | 钥匙
1F512 | lock, padlock | 把 | 锁
1F528 | hammer | 把 | 锤子
1FA93 | axe | 把 | 斧头, 斧子
1F527 | wrench | 把 | 扳手
1FA9B | screwdriver | 把 | 螺丝刀
1F52A | kitchen knife/kitchen knives | 把 | 菜刀
1FA9C | ladder | 架 | 梯子
1FA91 | chair | 把 | 椅子
1F6CF | bed | 张 | 床
1F6C1 | bathtub | 个 | 浴缸
1F6BD | toilet | 个 | 马桶
1F6AA | door | 扇 | 门
1FA9E | mirror | 面 | 镜子
1F9F9 | broom | 把 | 扫帚
1FAA3 | bucket | 个 | 桶, 水桶
1FAA5 | toothbrush | 把 | 牙刷
1F388 | balloon | 个 | 气球
1F381 | gift, present | 份 | 礼物
1F9F8 | teddy bear | 只 | 泰迪熊
1FA81 | kite | 只 | 风筝
1F3C0 | basketball | 个 | 篮球
1F3C6 | trophy | 座 | 奖杯
1F9F2 | magnet | 块 | 磁铁
1F52C | microscope | 台 | 显微镜
1F52D | telescope | 架 | 望远镜
1F9ED | compass | 个 | 指南针
1F9F3 | suitcase | 个 | 行李箱
1F5BC | framed picture, painting | 幅 | 带框的画, 画
1F570 | clock, mantel clock | 座 | 座钟, 钟
1F3E0 | house | 座 | 房子
1F3F0 | castle | 座 | 城堡
1F697 | car | 辆 | 汽车, 轿车
1F695 | taxi | 辆 | 出租车
1F68C | bus | 辆 | 公交车
1F691 | ambulance | 辆 | 救护车
1F692 | fire engine, fire truck | 辆 | 消防车
1F693 | police car | 辆 | 警车
1F69A | delivery van, van | 辆 | 货车, 面包车
1F69C | tractor | 台 | 拖拉机
1F6B2 | bicycle, bike | 辆 | 自行车
1F3CD | motorcycle, motorbike | 辆 | 摩托车
1F6F4 | kick scooter, scooter | 辆 | 滑板车
1F6F9 | skateboard | 块 | 滑板
1F682 | steam train, train | 列 | 蒸汽火车, 火车
1F6E9 | airplane, plane | 架 | 飞机
1F681 | helicopter | 架 | 直升机
1F680 | rocket | 枚 | 火箭
1F6A2 | ship | 艘 | 船, 轮船
1F6A4 | speedboat | 艘 | 快艇
1F6F6 | canoe | 条 | 独木舟
1F6F8 | flying saucer, UFO/UFOs | 架 | 飞碟
"""


# What the package `emoji` calls some of them in English, with no word of ours.
_NAMED_OTHERWISE = {
  "ewe": "sheep",
  "lady_beetle": "ladybug",
  "locked": "lock",
  "luggage": "suitcase",
  "automobile": "car",
  "locomotive": "steam train",
}


@dataclasses.dataclass(frozen=True)
class ObjectClass:
  """One class: the character that draws it and the noun that names it."""

  code_point: int
  noun: Noun

  @property
  def character(self) -> str:
    return chr(self.code_point)


def _parse_row(row: str) -> ObjectClass:
  code_point, english, measure, chinese = (p.strip() for p in row.split("|"))
  names = []
  for name in english.split(", "):
    singular, _, plural = name.partition("/")
    names.append((singular, plural or pluralize(singular)))
  return ObjectClass(
    int(code_point, 16), Noun(tuple(names), tuple(chinese.split(", ")), measure)
  )


OBJECTS = tuple(_parse_row(row) for row in _TABLE.strip().splitlines())


def choose_objects(count: int) -> tuple[ObjectClass, ...]:
  """Returns `count` classes, taken evenly from all kinds of objects."""
  if not 8 <= count <= len(OBJECTS):
    raise DataError(
      f"{count} object classes asked for; choose 8 to {len(OBJECTS)}"
    )
  return tuple(OBJECTS[i * len(OBJECTS) // count] for i in range(count))


def check_names(
  objects: tuple[ObjectClass, ...],
  names_en: Mapping[str, str],
  names_zh: Mapping[str, str],
) -> None:
  """Checks that each code point is what the table says it is.

  Args:
    objects: rows of the table.
    names_en: character -> name in the manner of `:hot_dog:`.
    names_zh: the same in Chinese.

  Raises:
    DataError: names every class whose names share nothing with the other's.
  """
  wrong = []
  for entry in objects:
    keys = (entry.character, entry.character + "\ufe0f")  # with a selector
    english = next((names_en[k] for k in keys if k in names_en), "").strip(":")
    chinese = next((names_zh[k] for k in keys if k in names_zh), "").strip(":")
    english = _NAMED_OTHERWISE.get(english, english).lower()
    names = " ".join(name for name, _ in entry.noun.en).lower()
    # The first four letters, so that "socks" is found in "pair of socks".
    shares_word = any(w[:4] in names for w in re.split(r"[_\W]+", english) if w)
    if not shares_word or not set(chinese) & set("".join(entry.noun.zh)):
      wrong.append(f"{entry.code_point:X} {names} is {english} {chinese}")
  if wrong:
    raise DataError(
      "object names that differ from those of the package emoji: "
      + "; ".join(wrong)
    )
