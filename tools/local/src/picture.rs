//! Pictures of items, painted here, so that a shop opens with photos and needs no files.

/// The pixels of a side.
const SIDE: u16 = 240;

/// How many pixels are in a byte: each is one of four colours.
const PIXELS_PER_BYTE: u16 = 4;

const BACKGROUND: u8 = 0;
const BODY: u8 = 1;
const LIGHT: u8 = 2;
const SHADOW: u8 = 3;

/// A PNG of a ball in a colour, by its hue in degrees.
pub fn picture(hue: u16) -> Vec<u8> {
    let palette = [(0.07, 0.98), (0.75, 0.85), (0.25, 1.0), (0.20, 0.75)];
    let palette: Vec<u8> = palette
        .into_iter()
        .flat_map(|(saturation, value)| rgb(hue, saturation, value))
        .collect();
    let mut rows = Vec::new();
    for y in 0..SIDE {
        rows.push(0); // this row is not filtered
        for x in (0..SIDE).step_by(usize::from(PIXELS_PER_BYTE)) {
            let pixels = (x..x + PIXELS_PER_BYTE).map(|x| paint(x, y));
            rows.push(pixels.fold(0, |byte, pixel| byte << 2 | pixel));
        }
    }
    let side = u32::from(SIDE).to_be_bytes();
    // Two bits for each pixel, and a palette.
    let head = [&side[..], &side, &[2, 3, 0, 0, 0]].concat();
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &head),
        chunk(b"PLTE", &palette),
        chunk(b"IDAT", &zlib(&rows)),
        chunk(b"IEND", &[]),
    ]
    .concat()
}

/// The colour of a pixel.
fn paint(x: u16, y: u16) -> u8 {
    let is_in = |(centre_x, centre_y): (f32, f32), (width, height): (f32, f32)| {
        let (x, y) = (f32::from(x) - centre_x, f32::from(y) - centre_y);
        (x / width).powi(2) + (y / height).powi(2) <= 1.0
    };
    if is_in((92.0, 84.0), (26.0, 20.0)) {
        LIGHT
    } else if is_in((120.0, 112.0), (80.0, 80.0)) {
        BODY
    } else if is_in((120.0, 196.0), (76.0, 16.0)) {
        SHADOW
    } else {
        BACKGROUND
    }
}

/// Red, green and blue of a colour that is given by hue (degrees), saturation and value.
fn rgb(hue: u16, saturation: f32, value: f32) -> [u8; 3] {
    let sector = f32::from(hue % 360) / 60.0;
    [5.0, 3.0, 1.0].map(|offset| {
        let distance: f32 = (offset + sector) % 6.0;
        let share = distance.min(4.0 - distance).clamp(0.0, 1.0);
        (255.0 * value * (1.0 - saturation * share)).round() as u8
    })
}

/// A chunk of a PNG (RFC 2083): length, kind, data, CRC of kind and data.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let checked = [&kind[..], data].concat();
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[..], &checked, &crc(&checked).to_be_bytes()].concat()
}

/// The bytes as a zlib stream (RFC 1950) of one block that is not compressed, which holds at most 65,535.
fn zlib(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    [
        &[0x78, 0x01, 1][..],
        &length.to_le_bytes(),
        &(!length).to_le_bytes(),
        bytes,
        &(high << 16 | low).to_be_bytes(),
    ]
    .concat()
}

/// The CRC-32 of RFC 2083.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let carry = if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
            crc >> 1 ^ carry
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_differ_by_hue_and_fit_into_one_block() {
        let (red, green) = (picture(0), picture(120));
        assert_ne!(red, green);
        assert!(red.len() < 65_535);
        assert_eq!(rgb(0, 1.0, 1.0), [255, 0, 0]);
        assert_eq!(rgb(120, 1.0, 1.0), [0, 255, 0]);
        assert_eq!(rgb(240, 1.0, 1.0), [0, 0, 255]);
        // The chunk that every PNG ends with, and the check values of the two sums.
        assert!(red.ends_with(b"IEND\xae\x42\x60\x82"));
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        assert!(zlib(b"Wikipedia").ends_with(&0x11e6_0398_u32.to_be_bytes()));
    }
}
