//! Block options and sizes (RFC 7959 section 2.2, RFC 8323 section 6): 20 bits of number, the more bit, three bits of size. Not
//! here: transfers.

use crate::Options;

/// The exponent of a block size: 2^(n + 4) bytes, 0 (16 bytes) to 6 (1024 bytes). 7 is reserved on datagrams, and on streams
/// any number of blocks of 1024 bytes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Szx(u8);

impl Szx {
    /// Blocks of 16 bytes.
    pub const MIN: Szx = Szx(0);
    /// Blocks of 1024 bytes.
    pub const MAX: Szx = Szx(6);
    /// Blocks of 1024 bytes, any number of them in one message (RFC 8323 section 6).
    pub const BERT: Szx = Szx(7);

    /// The exponent, when it is 0 to 6.
    pub const fn new(exponent: u8) -> Option<Szx> {
        if exponent <= 6 { Some(Szx(exponent)) } else { None }
    }

    /// The largest block that is not longer than this many bytes; 16 when that is less.
    pub fn fitting(bytes: usize) -> Szx {
        (0..=6).rev().map(Szx).find(|szx| szx.bytes() <= bytes).unwrap_or(Szx::MIN)
    }

    /// The length of a block in bytes.
    pub const fn bytes(self) -> usize {
        match self.0 {
            7 => Szx::MAX.bytes(),
            exponent => 1 << (exponent + 4),
        }
    }
}

/// What one message holds of a body in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Portion {
    pub(crate) szx: Szx,
    /// How many bytes, but for the last one.
    pub(crate) bytes: usize,
}

impl Portion {
    /// One block.
    pub(crate) fn one(szx: Szx) -> Portion {
        Portion { szx, bytes: szx.bytes() }
    }

    /// The largest of so many bytes at most: blocks of 1024 bytes when there is room for several.
    pub(crate) fn several(bytes: usize) -> Portion {
        match bytes / Szx::BERT.bytes() {
            0 | 1 => Portion::one(Szx::fitting(bytes)),
            blocks => Portion { szx: Szx::BERT, bytes: blocks * Szx::BERT.bytes() },
        }
    }

    /// The same, but no larger than somebody asks for.
    pub(crate) fn at_most(self, asked: Szx) -> Portion {
        if asked < self.szx { Portion::one(asked) } else { self }
    }
}

/// The value of a Block1 or Block2 option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block {
    /// The number of the block, below 2^20.
    pub num: u32,
    /// Whether more blocks follow.
    pub more: bool,
    /// The size of the blocks.
    pub szx: Szx,
}

/// A block option that must be answered with 4.00: size 7 where it is reserved, or over three bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadBlock;

impl Block {
    /// The largest number of a block.
    pub const MAX_NUM: u32 = (1 << 20) - 1;

    /// The block that begins at that byte, when the byte is a border and its number fits into 20 bits.
    pub fn at(offset: usize, more: bool, szx: Szx) -> Option<Block> {
        let num = u32::try_from(offset / szx.bytes()).ok()?;
        (offset.is_multiple_of(szx.bytes()) && num <= Self::MAX_NUM).then_some(Block { num, more, szx })
    }

    /// The first byte of the block in the body.
    pub const fn offset(self) -> usize {
        self.num as usize * self.szx.bytes()
    }

    /// Whether a message with this block may hold so many bytes.
    pub(crate) fn holds(self, bytes: usize) -> bool {
        let length = self.szx.bytes();
        match (self.szx, self.more) {
            (Szx::BERT, true) => bytes > 0 && bytes.is_multiple_of(length),
            (Szx::BERT, false) => true,
            (_, true) => bytes == length,
            (_, false) => bytes <= length,
        }
    }

    /// The block option of that number.
    ///
    /// # Errors
    /// When its value is none that a datagram may carry.
    pub fn of(options: &Options, number: u16) -> Result<Option<Block>, BadBlock> {
        match Self::streamed(options, number) {
            Ok(Some(Block { szx: Szx::BERT, .. })) => Err(BadBlock),
            read => read,
        }
    }

    /// The same of a message that came over a stream.
    ///
    /// # Errors
    /// When its value has over three bytes.
    pub fn streamed(options: &Options, number: u16) -> Result<Option<Block>, BadBlock> {
        if !options.has(number) {
            return Ok(None);
        }
        let value = options.uint(number).filter(|value| *value < 1 << 24).ok_or(BadBlock)?;
        Ok(Some(Block { num: value >> 4, more: value & 8 != 0, szx: Szx((value & 7) as u8) }))
    }

    /// The option's value.
    pub const fn value(self) -> u32 {
        self.num << 4 | (self.more as u32) << 3 | self.szx.0 as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::number::BLOCK2;

    fn read(value: &'static [u8]) -> Result<Option<Block>, BadBlock> {
        Block::of(&[(BLOCK2, value)].into_iter().collect(), BLOCK2)
    }

    #[test]
    fn numbers_have_twenty_bits() {
        let last = Block { num: Block::MAX_NUM, more: true, szx: Szx::MAX };
        assert_eq!(last.value(), 0x00ff_fffe);
        assert_eq!(read(&[0xff, 0xff, 0xfe]), Ok(Some(last)));
        assert_eq!(last.offset(), 1_073_740_800);
        assert_eq!(Block::at(last.offset(), true, Szx::MAX), Some(last));
        assert_eq!(Block::at(1 << 30, true, Szx::MAX), None);
        assert_eq!(Block::at(1, true, Szx::MIN), None);
    }

    #[test]
    fn size_seven_is_refused() {
        assert_eq!(read(&[7]), Err(BadBlock));
        assert_eq!(read(&[1, 0, 0, 0]), Err(BadBlock));
        assert_eq!(read(&[]), Ok(Some(Block { num: 0, more: false, szx: Szx::MIN })));
        assert_eq!(Block::of(&Options::new(), BLOCK2), Ok(None));
    }

    #[test]
    fn size_seven_is_several_blocks_on_streams() {
        let options = [(BLOCK2, &[0x2f][..])].into_iter().collect();
        let block = Block::streamed(&options, BLOCK2).unwrap().unwrap();
        assert_eq!((block, block.value()), (Block { num: 2, more: true, szx: Szx::BERT }, 0x2f));
        assert_eq!((block.offset(), Block::at(2048, true, Szx::BERT)), (2048, Some(block)));
        let last = Block { more: false, ..block };
        for (bytes, holds) in
            [(0, (false, true)), (1024, (true, true)), (1025, (false, true)), (3072, (true, true))]
        {
            assert_eq!((block.holds(bytes), last.holds(bytes)), holds, "{bytes}");
        }
        assert_eq!(Portion::several(5000), Portion { szx: Szx::BERT, bytes: 4096 });
        assert_eq!(Portion::several(2047), Portion::one(Szx::MAX));
        assert_eq!(Portion::several(5000).at_most(Szx::MIN), Portion::one(Szx::MIN));
        assert_eq!(Portion::one(Szx::MIN).at_most(Szx::BERT), Portion::one(Szx::MIN));
    }

    #[test]
    fn sizes_fit() {
        assert_eq!(Szx::fitting(1500), Szx::MAX);
        assert_eq!(Szx::fitting(100).bytes(), 64);
        assert_eq!(Szx::fitting(3).bytes(), 16);
    }
}
