//! stub
pub mod vault {
    //! stub
    /// stub
    #[derive(Clone, Debug)]
    pub struct Sealed {
        /// c
        pub encrypted_value: String,
        /// c
        pub iv: String,
        /// c
        pub tag: String,
        /// c
        pub alg: String,
        /// c
        pub key_version: String,
    }
}
